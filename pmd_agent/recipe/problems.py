"""The section `problems` of a recipe: where problems come from, how they are split, and what checks the answers."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pmd_agent.recipe.section import Section
from pmd_agent.recipe.tools import Tools
from pmd_agent.recipe.worlds import (
    HouseRulesProblems,
    ReasoningGymProblems,
    TicketProblems,
    VerifiersProblems,
    WorldProblems,
)


class Bounds(Section):
    """Of a number in a row."""

    min: float | None = None
    max: float | None = None


Parse = Literal["lenient", "published"]


def _written(value: object) -> object:
    """A number, true, false or null as JSON writes it: rows are compared with text."""
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else value


Value = Annotated[str, BeforeValidator(_written, json_schema_input_type=str | int | float | bool | None)]
"""What a row's field is compared with, as it is written: 1.10 is not 1.1."""
Where = dict[str, Value | tuple[Value, ...] | Bounds]


class SciKnowEvalProblems(Section):
    """Level-3 multiple choice of SciKnowEval, from the hub or from prepared JSONL folders."""

    type: Literal["sciknoweval"] = "sciknoweval"
    path: Path | None = None
    """A folder with train.jsonl and test.jsonl, or a folder of such domain folders. Empty: the hub."""
    hub: str = "hicai-zju/SciKnowEval"
    domains: tuple[str, ...] = ()
    """Empty: all of biology, chemistry, material, physics that the source has."""
    test_fraction: float = Field(0.1, gt=0, lt=1)
    """Held out for testing where the source has no split of its own."""
    validation_fraction: float = Field(0.05, ge=0, lt=1)
    """Held out of the training part."""
    max_bad_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of rows that may be unusable before loading is an error."""
    seed: int = 42
    """Of the split; 42 gives the published one."""
    verifier: str = "multiple_choice"
    parse: Parse = "lenient"
    """How multiple_choice reads a letter: `lenient` takes (B), b, `B: 12 g`; `published` is SDPO's rule (docs/problems.md)."""


class SandboxSection(Section):
    """Where programs are checked (docs/sandbox.md)."""

    seconds: float = Field(10.0, gt=0, le=600)
    """Processor time of one test, and of all calls of a check in code; by the clock 2.5 times as much."""
    total_seconds: float = Field(50.0, gt=0, le=55)
    """By the clock, for all tests of one program. A verdict is given up after 60 s, as not checked."""
    memory_mib: int = Field(1024, ge=128)
    """Of one program."""
    cores: int | None = Field(None, ge=1)
    """Programs checked at one time. Empty: one a core."""
    fraction: bool = False
    """The reward is the share of the tests that pass; false: 1 where all do, else 0."""
    allow_unsafe: bool = False
    """Run programs although the system lacks an essential protection."""


class LiveCodeBenchProblems(Section):
    """Contest problems; trained on a random half of each one's tests, scored on all of them."""

    same_problems: ClassVar[bool] = True
    """What is tested on is practised, too."""
    type: Literal["livecodebench"] = "livecodebench"
    path: Path | None = None
    """A file or a folder of rows in the hub's schema. Empty: the hub."""
    hub: str = "livecodebench/code_generation_lite"
    files: tuple[str, ...] = ("test6.jsonl",)
    """Of the hub's dataset: one for each version's additions. test6.jsonl is what version 6 added."""
    start: date | None = date(2025, 2, 1)
    """Contests from this day on. Empty (null): all."""
    end: date | None = date(2025, 5, 31)
    """Contests up to this day."""
    kind: Literal["difficulty", "platform"] = "difficulty"
    """By which results are also reported apart."""
    validation_fraction: float = Field(0.25, ge=0, lt=1)
    """Share of the problems that validation is measured on, with all of their tests. They are trained on as well."""
    max_bad_fraction: float = Field(0.0, ge=0, lt=1)
    seed: int = 0
    """Of the half of the tests that is trained on."""
    verifier: str = "code"
    sandbox: SandboxSection = SandboxSection()


class HumanEvalProblems(Section):
    """Functions to complete, checked by code: HumanEval, and what has its schema."""

    type: Literal["humaneval"] = "humaneval"
    path: Path | None = None
    """A file. Empty: the hub."""
    hub: str = "openai/openai_humaneval"
    test_fraction: float = Field(0.5, gt=0, lt=1)
    validation_fraction: float = Field(0.1, ge=0, lt=1)
    """Held out of the training part."""
    max_bad_fraction: float = Field(0.0, ge=0, lt=1)
    seed: int = 0
    """Of the split."""
    verifier: str = "code"
    sandbox: SandboxSection = SandboxSection()


class Mapped(Section):
    """Rows whose fields the recipe names. A name with dots leads into objects: details.level."""

    type: str
    prompt: str = "prompt"
    """The name of the field with the problem; the next ones likewise."""
    answer: str | None = "answer"
    """null: there is none, the verifier runs something instead."""
    system: str | None = "system"
    """The system message, where a row brings one."""
    id: str | None = "id"
    """Where no row has one, ids are the file's or split's name and the row's number."""
    kind: str | None = "kind"
    """Results are also reported apart by it."""
    choices: str | Annotated[tuple[str, ...], Field(min_length=2, max_length=10)] | None = "choices"
    """Options of multiple choice; those that the prompt does not list are added to it. Several names, as [A, B, C, D]: a field for
    each option."""
    system_text: str | None = None
    """The system message of rows that bring none. Empty: the verifier's own, which asks for the format that it reads."""
    where: Where = Field(default_factory=dict)
    """Only rows whose fields have this value, one of these values, or a number within {min: ..., max: ...}."""
    split_field: str | None = None
    """The field that says of a row whether it is in train, validation or test. Empty: none does."""
    test_fraction: float = Field(0.1, gt=0, lt=1)
    """Held out of each kind, where there is no test part and no split_field."""
    validation_fraction: float = Field(0.05, ge=0, lt=1)
    """Held out of the training part, where split_field names no validation."""
    max_bad_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of rows that may be unusable before loading is an error."""
    seed: int = 0
    """Of the split."""
    verifier: str = "exact"
    """exact, multiple_choice, math, code, or package.module:function."""
    environment: str | None = None
    """package.module:Class of your own: attempts are then episodes, each with an object of it (docs/agents.md)."""
    tools: Tools = ()
    """Of an agent: attempts are then episodes in which the policy may call them, and the verifier reads the last reply."""
    parse: Parse = "lenient"
    """How multiple_choice reads a letter: `lenient` takes (B), b, `B: 12 g`; `published` is SDPO's rule (docs/problems.md)."""
    sandbox: SandboxSection = SandboxSection()
    """Of the verifier code."""


class FileProblems(Mapped):
    """Your own problems: JSONL, JSON, parquet or CSV."""

    type: Literal["file"] = "file"
    path: Path
    """A file, or a folder with files called train and test."""
    test_path: Path | None = None
    """Empty: `test_fraction` of `path` is held out."""


class HubProblems(Mapped):
    """A dataset of the Hugging Face hub."""

    type: Literal["hub"] = "hub"
    hub: str
    """owner/name, or a local folder of the hub's shape."""
    subset: str | None = None
    """The hub's configuration. Empty: its default."""
    split: str = "train"
    test_split: str | None = None
    """Empty: `test_fraction` of `split` is held out."""


class FunctionProblems(Section):
    """Your own Python function that returns problems, or a (train, test) pair."""

    type: Literal["python"] = "python"
    function: str
    """package.module:function"""
    test_fraction: float = Field(0.1, gt=0, lt=1)
    validation_fraction: float = Field(0.05, ge=0, lt=1)
    seed: int = 0
    verifier: str = "exact"
    environment: str | None = None
    """package.module:Class of your own: attempts are then episodes, each with an object of it (docs/agents.md)."""
    tools: Tools = ()
    """Of an agent: attempts are then episodes in which the policy may call them, and the verifier reads the last reply."""
    parse: Parse = "lenient"
    """As for files."""
    sandbox: SandboxSection = SandboxSection()


class GivenProblems(Section):
    """Given as objects in Python (docs/python.md). The run's folder keeps them, in problems.jsonl."""

    type: Literal["given"] = "given"
    test_fraction: float = Field(0.1, gt=0, lt=1)
    """Held out of each kind, where no test problems are given."""
    validation_fraction: float = Field(0.05, ge=0, lt=1)
    """Held out of the training part, where no validation problems are given."""
    seed: int = 0
    """Of the split."""
    verifier: str = "exact"
    environment: str | None = None
    """package.module:Class of your own: attempts are then episodes, each with an object of it (docs/agents.md)."""
    tools: Tools = ()
    """Of an agent: attempts are then episodes in which the policy may call them, and the verifier reads the last reply."""
    sandbox: SandboxSection = SandboxSection()


class TraceProblems(Section):
    """Chats with rewards, as an application has had them: they go into memory, and the policy practises on their first turns."""

    type: Literal["traces"] = "traces"
    path: Path
    """JSONL: an object a line with `messages` (OpenAI's format), `reward` in [0, 1], and maybe `feedback` and `kind`."""
    test_fraction: float = Field(0.1, gt=0, lt=1)
    """Held out of each kind, where a verifier or an environment can measure."""
    validation_fraction: float = Field(0.05, ge=0, lt=1)
    max_bad_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of lines that may be unusable before loading is an error."""
    seed: int = 0
    """Of the split."""
    verifier: str = "none"
    """none: nothing judges the policy's own attempts. They are taught by a teacher that reads the memory of the chats, and enter no
    memory themselves. Or a verifier's name, as for files."""
    environment: str | None = None
    """As for files."""
    sandbox: SandboxSection = SandboxSection()

    @property
    def judged(self) -> bool:
        """Whether the policy's own attempts get a verdict."""
        return self.verifier != "none" or self.environment is not None


class MathProblems(Section):
    """Questions with a mathematical answer: GSM8K, MATH, and what has the fields of one of them."""

    type: Literal["math"] = "math"
    path: Path | None = None
    """A file, or a folder with files called train and test. Empty: the hub."""
    test_path: Path | None = None
    hub: str = "openai/gsm8k"
    subset: str | None = "main"
    """The hub's configuration."""
    split: str = "train"
    test_split: str | None = "test"
    """Null, or a `path` without a test file: `test_fraction` is held out."""
    kind: Literal["subject", "level"] = "subject"
    """Of MATH: by which results are also reported apart."""
    where: Where = Field(default_factory=dict)
    """Only rows whose fields have this value, one of these values, or a number within {min: ..., max: ...}."""
    test_fraction: float = Field(0.1, gt=0, lt=1)
    validation_fraction: float = Field(0.05, ge=0, lt=1)
    """Held out of the training part."""
    max_bad_fraction: float = Field(0.0, ge=0, lt=1)
    seed: int = 0
    """Of the split."""
    verifier: str = "math"
    tools: Tools = ()
    """Of an agent: attempts are then episodes in which the policy may call them, and the verifier reads the last reply."""


class MbppProblems(Section):
    """Functions to write from a sentence, checked by asserts: MBPP, and what has its schema."""

    type: Literal["mbpp"] = "mbpp"
    path: Path | None = None
    """A file, or a folder with files called train and test. Empty: the hub."""
    test_path: Path | None = None
    hub: str = "google-research-datasets/mbpp"
    subset: str | None = "full"
    """full, or sanitized."""
    split: str = "train"
    test_split: str | None = "test"
    """Null, or a `path` without a test file: `test_fraction` is held out."""
    shown: int = Field(1, ge=1)
    """Asserts that the student reads; one says what the function is called. All of them are checked."""
    where: Where = Field(default_factory=dict)
    """Only rows whose fields have this value, one of these values, or a number within {min: ..., max: ...}."""
    test_fraction: float = Field(0.5, gt=0, lt=1)
    validation_fraction: float = Field(0.1, ge=0, lt=1)
    """Held out of the training part."""
    max_bad_fraction: float = Field(0.02, ge=0, lt=1)
    """A few of MBPP's tests use a class that the solution defines: they cannot be checked from outside of it."""
    seed: int = 0
    """Of the split."""
    verifier: str = "code"
    sandbox: SandboxSection = SandboxSection()


Problems = Annotated[
    WorldProblems
    | HouseRulesProblems
    | TicketProblems
    | ReasoningGymProblems
    | VerifiersProblems
    | SciKnowEvalProblems
    | LiveCodeBenchProblems
    | HumanEvalProblems
    | MbppProblems
    | MathProblems
    | FileProblems
    | HubProblems
    | FunctionProblems
    | GivenProblems
    | TraceProblems,
    Field(discriminator="type"),
]
