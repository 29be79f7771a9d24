"""The section `memory` of a recipe: what is kept, what the teacher reads of it, and who leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pmd_agent.recipe.section import Section
from pmd_agent.types import TIERS, Tier


class HashingEmbedderSection(Section):
    """Hashed words and letter groups: no download, no weights, no synonyms."""

    type: Literal["hashing"] = "hashing"
    dimension: int = Field(512, ge=16)


class HuggingFaceEmbedderSection(Section):
    """Any encoder of transformers, in this process."""

    type: Literal["huggingface"] = "huggingface"
    model: str = "Qwen/Qwen3-Embedding-0.6B"
    """A folder, or a name on the hub."""
    device: str = "cpu"
    pooling: Literal["mean", "last"] = "last"
    """Of the last hidden states: their mean (most encoders), or the last token's (Qwen3-Embedding)."""
    max_tokens: int = Field(512, ge=8)
    """Of a text; more is cut."""


class EndpointEmbedderSection(Section):
    """Any server with OpenAI's embeddings, such as vLLM."""

    type: Literal["endpoint"] = "endpoint"
    model: str = "Qwen/Qwen3-Embedding-0.6B"
    """Its name on the server."""
    api_base: str = "http://127.0.0.1:8001/v1"
    api_key: str = ""
    """The environment variable that holds the key, where it has one."""


EmbedderSection = Annotated[
    HashingEmbedderSection | HuggingFaceEmbedderSection | EndpointEmbedderSection, Field(discriminator="type")
]


class BudgetSection(Section):
    """Live entries of each tier; memory/eviction.py says who leaves first. Empty: no limit."""

    experience: int | None = Field(None, ge=1)
    insight: int | None = Field(None, ge=1)
    behavior: int | None = Field(None, ge=1)


class LiftSection(Section):
    """What reading a memory does to the teacher, measured by reading it alone, and what follows. docs/memory.md."""

    trial: int = Field(0, ge=0)
    """Each memory is tried alone on so many correct rollouts of a problem a step, and a bank's teaches fully once that showed
    it to help. 0: no trials."""
    untried: float = Field(0.5, ge=0, le=1)
    """Probability with which a rollout's teacher reads a memory that is still on trial. 0: what has not passed never teaches."""
    harmful: float | None = Field(2.0, gt=0)
    """Standard errors below zero from which a memory is quarantined. Empty: never."""
    half_life: float = Field(50.0, gt=0)
    """Steps after which an observation counts half: the policy that reads has changed."""
    absorbed: float | None = Field(None, gt=0, le=1)
    """Share of a problem's rollouts that are correct from which its memories are retired. Empty: never."""


class MemorySection(Section):
    """What is kept, and what the teacher reads of it."""

    tiers: tuple[Tier, ...] = TIERS
    """Which of experience, insight, behavior are written and read. Empty: SDPO."""
    persist: bool = True
    """False: reflect, but forget at the end of each step (PMD-transient)."""
    frozen: bool = False
    """Nothing is ever written: the teacher reads the bank."""
    freeze_after: int | None = Field(None, ge=0)
    """Nothing is written from this step on (frozen memory)."""
    bank: Path | None = None
    """Start from another run's memory: a file that `pmd memory export` wrote. `lift.trial` has it prove itself first."""
    embedder: EmbedderSection = HashingEmbedderSection()
    """By whose vectors behaviors are retrieved and problems clustered. A run keeps the one that it began with."""
    server: str | None = None
    """http://host:port of a Chroma server (`chroma run`) to keep it on. Empty: in the run's folder."""
    recall: Literal["relevant", "random", "shuffled"] = "relevant"
    """random: any memories; shuffled: those of another problem of the batch. Both are controls."""
    behaviors: int = Field(3, ge=0)
    """Retrieved for each problem."""
    min_similarity: float = Field(0.05, ge=0, le=1)
    """Cosine to the problem below which no behavior is retrieved."""
    diversity: float = Field(0.0, ge=0, lt=1)
    """0: the nearest behaviors; towards 1, such as differ from each other (maximal marginal relevance)."""
    strategies: int = Field(4, ge=0)
    lessons: int = Field(4, ge=0)
    siblings: bool = True
    """SDPO's context: a correct rollout of the same group, and the verifier's feedback (`feedback`). False: neither."""
    feedback: Literal["always", "without_solution", "never"] = "without_solution"
    """Whether a failed rollout's teacher reads what the verifier said of it. without_solution: where it is shown no correct one
    (SDPO where its tests speak; never on SciKnowEval)."""
    max_tokens: int = Field(4096, ge=64)
    """Budget of the teacher's message, problem included; the problem is never cut."""
    near: float | None = Field(0.95, gt=0, le=1)
    """Cosine from which two insights of a problem, or two behaviors, are merged as one. Empty: equal ones only."""
    lessons_kept: int = Field(8, ge=1)
    """Live lessons of a problem."""
    budget: BudgetSection = BudgetSection()
    max_age_steps: int | None = Field(None, ge=1)
    """Steps since a memory was written, or last said again, after which it is archived. Empty: never."""
    max_age_versions: int | None = Field(None, ge=1)
    """The same in versions of the policy."""
    lift: LiftSection = LiftSection()
