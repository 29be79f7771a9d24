"""The vocabulary: what flows through one step of the loop.

    Problem -> Rollout -> Verdict -> Experience -> Insight -> Behavior -> TeacherContext

Everything here is frozen and cites its sources, so that a behavior traces back to the rollouts it came from.

Notation for batched names (CONTRIBUTING.md has the full table):

    _P  problems of a batch        _G  rollouts of one problem (its group)       _N  a flat list over both
    _T  tokens of a sequence       _K  top-k entries of a distribution           _V  the vocabulary

`rollouts_PG` is therefore a list over problems of lists over their rollouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Tier = Literal["experience", "insight", "behavior"]
TIERS: tuple[Tier, ...] = ("experience", "insight", "behavior")
BY_HAND = "by hand"
"""The program of an entry that no program wrote."""


class Readable:
    """Shows in a prompt as its `str`, also where a DSPy program passes the object itself, or a list of them."""

    __slots__ = ()

    def __contains__(self, part: str) -> bool:
        return part in str(self)

    def replace(self, old: str, new: str) -> str:
        """DSPy indents the entries of a list so."""
        return str(self).replace(old, new)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


@dataclass(frozen=True, slots=True)
class Problem:
    """One task that a verifier can check."""

    id: str
    """Stable across runs: memory is looked up by it."""
    prompt: str
    """What the student reads, as the user's message. Never contains memory."""
    answer: str | None = None
    """What the verifier compares with; None where the verifier needs none (it may run tests instead)."""
    system: str = ""
    """The system message, where the task has one (often the answer format)."""
    kind: str = ""
    """A label by which results are also reported apart (a domain, a difficulty). Empty: not reported apart."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What else the verifier needs (tests, metadata). Never shown to a model."""


@dataclass(frozen=True, slots=True)
class ProblemView(Readable):
    """A problem as a program sees it: without `answer` and `data`, and without a way to them. Its `str` is the prompt."""

    id: str
    prompt: str
    """What the student read. A text in it that could pass for a mark of DSPy's, or end a turn, is broken up."""
    system: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return self.prompt


@dataclass(frozen=True, slots=True)
class Attempt(Readable):
    """An experience as a program sees it: what was written, and what the verifier said of it. Its `str` has both."""

    id: str
    """The rollout's."""
    text: str
    """Without hidden reasoning. What could pass for another attempt's heading, or end a turn, is quoted."""
    correct: bool
    reward: float
    """In [0, 1]; `correct` from the recipe's `rollout.success_threshold` on."""
    feedback: str = ""
    """What the verifier says was wrong, treated as the text is; empty where it says nothing."""

    def __str__(self) -> str:
        said = f"\nfeedback: {self.feedback}" if self.feedback else ""
        return f"{'correct' if self.correct else 'failed'}\n{self.text}{said}"


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy returns for one sample: exact token ids and log-probabilities."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """(T,) nats at temperature 1, of the weights that sampled, before top-p."""
    text: str
    finish_reason: Literal["stop", "length"]
    policy_version: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of an episode, after its prompt."""

    role: Literal["assistant", "user", "tool"]
    """`assistant`: the policy's reply; the others are the environment's."""
    content: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One attempt of the student, as token ids: text is never tokenised a second time."""

    id: str
    """`step/problem/sample`, deterministic, so that writing it twice is writing it once."""
    problem_id: str
    prompt_ids: tuple[int, ...]
    """(T_prompt,) the plain prompt, chat template applied."""
    completion_ids: tuple[int, ...]
    """(T,) all that followed, end-of-sequence token included where it was produced."""
    written: tuple[bool, ...]
    """(T,) True where the policy wrote the token; False where a tool or another party did (several turns)."""
    logprobs: tuple[float, ...]
    """(T,) the sampling policy's log-probabilities in nats at temperature 1; 0.0 where `written` is False."""
    text: str
    """The completion decoded, special tokens removed; of an episode, its turns one after another (`transcript`)."""
    finish_reason: Literal["stop", "length"]
    """`length`: cut at the token limit; of an episode, at any limit."""
    policy_version: int
    """The version of the weights that really sampled it; of an episode, its first reply."""
    turns: tuple[Turn, ...] = ()
    """Of an episode: what was said after the prompt, in order. Empty where the attempt is one answer."""
    opening: tuple[Mapping[str, str], ...] = ()
    """Of an episode: the messages of its prompt, where its environment opened with others than the problem's."""
    account: str = ""
    """How memory is to tell the episode, where its environment says so. Empty: as the text does."""
    outcome: Verdict | None = None
    """What its environment says of it; None where a verifier is to be asked."""

    @property
    def reply(self) -> str:
        """What a verifier reads: the text, of an episode its last reply."""
        return self.replies[-1]

    @property
    def replies(self) -> tuple[str, ...]:
        """What the policy wrote: one text, or in an episode several."""
        return tuple(turn.content for turn in self.turns if turn.role == "assistant") or (self.text,)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier says of one rollout. None means "could not be checked": it enters no average, no memory, no loss."""

    reward: float | None
    """In [0, 1]; None where the check itself failed."""
    correct: bool | None
    """reward >= the success threshold; None where the check itself failed."""
    feedback: str = ""
    """Text that may be shown to a model: what was wrong, never the answer."""
    answer: str | None = None
    """What was parsed out of the rollout; None where nothing could be."""


@dataclass(frozen=True, slots=True)
class Experience:
    """Tier 1, one problem: a raw attempt with its verdict. Written for every checked rollout."""

    id: str
    """The rollout's id."""
    problem_id: str
    text: str
    reward: float
    correct: bool
    feedback: str
    answer: str | None
    step: int
    policy_version: int


@dataclass(frozen=True, slots=True)
class Insight(Readable):
    """Tier 2, one problem: what its attempts teach, in the policy's own words. Its `str` is the text."""

    id: str
    problem_id: str
    kind: Literal["strategy", "lesson"]
    """strategy: what led to correct answers; lesson: what keeps going wrong."""
    text: str
    confidence: float
    """The problem's success ratio in the group it was written from, in [0, 1]."""
    sources: tuple[str, ...]
    """Ids of the experiences that the reflector was given."""
    step: int
    """That wrote it, or that last said the same again."""
    policy_version: int
    """The weights that did."""
    support: int = 1
    """How many reflections said it."""
    merged: tuple[str, ...] = ()
    """Ids of later insights that said the same: they were not kept beside it."""
    program: str = ""
    """What wrote it: the program's class, the hash of its instructions and examples, and the model that ran it."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Behavior:
    """Tier 3, all problems: a named, reusable rule abstracted from the insights of a cluster of problems."""

    id: str
    name: str
    """snake_case, `behavior_...`."""
    text: str
    """The rule itself: what to do, and when."""
    cluster: str
    """The cluster of problems that it was first abstracted from."""
    support: int
    """How many problems have an insight that says it, of all the times that it was found."""
    sources: tuple[str, ...]
    """Ids of the insights that say it."""
    step: int
    """That wrote it, or that last found the same rule again."""
    policy_version: int
    """The weights that did."""
    merged: tuple[str, ...] = ()
    """Ids of later behaviors that said the same: they were not kept beside it."""
    program: str = ""
    """What wrote it, as for an insight."""
    problems: int = 0
    """Problems in its cluster when it was last found; 0 in a memory of an earlier release."""

    @property
    def support_in_words(self) -> str:
        """For people: "3 of 19 problems in its cluster"."""
        if self.support <= self.problems:
            return f"{self.support} of {self.problems} problems in its cluster"
        return f"{self.support} problem{'' if self.support == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class TeacherContext:
    """What the teacher reads beside one problem: memory m and the batch's own context g.

    Ordered by usefulness within each field: over budget, the renderer drops from the ends.
    """

    problem: Problem
    behaviors: tuple[Behavior, ...] = ()
    strategies: tuple[Insight, ...] = ()
    lessons: tuple[Insight, ...] = ()
    demonstrations: tuple[Experience, ...] = ()
    """Verified successes, siblings first, then earlier epochs. A rollout is never shown itself: `demonstration_for` picks."""
    feedback: Mapping[str, str] = field(default_factory=dict)
    """Rollout id -> the verifier's feedback on that very rollout (failed ones)."""

    def demonstration_for(self, rollout_id: str | None) -> Experience | None:
        """The first success that is not the rollout itself."""
        return next((e for e in self.demonstrations if e.id != rollout_id), None)

    def is_empty_for(self, rollout_id: str | None) -> bool:
        """True where the teacher would read nothing that the student does not."""
        has_memory = self.behaviors or self.strategies or self.lessons or self.demonstration_for(rollout_id)
        return not (has_memory or (rollout_id and self.feedback.get(rollout_id)))


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a run did, once it is committed."""

    number: int
    """As in metrics and ids: the first is 0."""
    steps: int
    """Of the whole run."""
    metrics: Mapping[str, Any]
    """Its line of metrics.jsonl."""
    problems_P: tuple[Problem, ...]
    rollouts_PG: tuple[tuple[Rollout, ...], ...]
    """For each problem its attempts."""
    verdicts_PG: tuple[tuple[Verdict, ...], ...]
    """In the shape of the rollouts."""

    @classmethod
    def of(
        cls,
        number: int,
        steps: int,
        metrics: Mapping[str, Any],
        problems_P: Sequence[Problem],
        rollouts_PG: Sequence[Sequence[Rollout]],
        verdicts_PG: Sequence[Sequence[Verdict]],
    ) -> Step:
        """From lists as the loop has them."""
        rollouts, verdicts = tuple(map(tuple, rollouts_PG)), tuple(map(tuple, verdicts_PG))
        return cls(number, steps, metrics, tuple(problems_P), rollouts, verdicts)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    """The same seed, prompts and weights give the same tokens on one machine."""
