"""The section `pipeline` of a recipe: the DSPy programs by which the policy writes its memory."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from pmd_agent.recipe.section import Section

ModulePath = str
"""package.module:Class"""
OPTIMISERS = ("bootstrap", "mipro", "gepa")
Style = Literal["auto", "box", "plain"]
METRICS = ("teacher_gain", "support", "parse")


class ProgramLMSection(Section):
    """Another model than the policy to run the programs, through litellm. The summary names it: memory is not the policy's own."""

    model: str | None = None
    """provider/name, such as openai/NAME or hosted_vllm/NAME. Empty: the policy itself."""
    api_base: str | None = None
    """http://host:port/v1 of a server of one's own."""
    api_key: str | None = None
    """The environment variable that holds the key. Empty: the provider's usual one."""


class OptimiseSection(Section):
    """The reflector, tuned by a DSPy optimiser on what it wrote so far. Taken over where it scores better on held-out problems."""

    every: int = Field(0, ge=0)
    """Steps between tunings. 0: never."""
    optimiser: str = "bootstrap"
    """bootstrap (examples), gepa (instructions), mipro (both; needs optuna), or package.module:Class of one's own."""
    metric: str = "teacher_gain"
    """teacher_gain (measured by the policy), support, parse, or package.module:function of one's own."""
    budget: int = Field(64, ge=8)
    """Metric calls of one tuning, about; up to half of them compare before and after."""
    demos: int = Field(1, ge=1)
    """Examples that an optimiser may show in each prompt, at most."""

    @field_validator("optimiser")
    @classmethod
    def _known_optimiser(cls, name: str) -> str:
        if name not in OPTIMISERS and ":" not in name:
            raise ValueError(f"{name!r} is none of {', '.join(OPTIMISERS)}, nor a package.module:Class")
        return name

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        if name not in METRICS and ":" not in name:
            raise ValueError(f"{name!r} is none of {', '.join(METRICS)}, nor a package.module:function")
        return name


class PipelineSection(Section):
    """The DSPy programs by which the policy writes its memory."""

    lm: ProgramLMSection = ProgramLMSection()
    weights: Literal["current", "initial"] = "current"
    """Of the policy when it runs the programs. initial: those before the first step, which training cannot make forget them."""
    reflector: ModulePath | list[ModulePath] = "pmd_agent.pipelines:Reflector"
    """package.module:Class, or a list of them that work one after the other (each may refine what came before)."""
    generaliser: ModulePath = "pmd_agent.pipelines:Generaliser"
    style: Style = "auto"
    """How programs and the teacher's page are worded. box: as the policy in the box was pretrained to read it. plain: for instruct
    models. auto: box where that is the policy (policy.model=box), else plain."""
    attempts: int = Field(4, ge=1)
    """Attempts shown in one reflection, the best and the worst."""
    attempt_chars: int = Field(4000, ge=100)
    """Each attempt is trimmed to this, head and tail kept."""
    insight_lines: int = Field(24, ge=1)
    """Insights shown to the generaliser at once."""
    max_insights: int = Field(8, ge=1)
    """At most so many strategies, and lessons, are kept of one reflection."""
    insight_chars: int = Field(400, ge=20)
    """A longer strategy, lesson or behavior is dropped and counted."""
    temperature: float = Field(0.0, ge=0)
    max_tokens: int = Field(1024, ge=16)
    every: int = Field(10, ge=1)
    """Behaviors are written anew every so many steps (K), and at the last one."""
    optimise: OptimiseSection = OptimiseSection()
    cluster_size: int = Field(16, ge=2)
    """Problems in a cluster, about."""
