"""What the stages share: the parts of a run, what a step reports, and seeds of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from pmd_agent.environment import Environments
from pmd_agent.errors import RunError
from pmd_agent.memory import Embedder, Memory
from pmd_agent.policies import Policy
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.recipe import Recipe
from pmd_agent.runs.attempts_ahead import write_ahead
from pmd_agent.runs.program_trace import ProgramTrace
from pmd_agent.types import Experience, Problem, Rollout
from pmd_agent.verifiers import Verified, Verifier

if TYPE_CHECKING:
    import dspy

    from pmd_agent.distillation.trainer import Trainer


Show = Callable[[str, int, int], AbstractContextManager[None]]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Parts:
    """What assembly puts together from a recipe."""

    recipe: Recipe
    steps: int
    curriculum: Curriculum
    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    test: tuple[Problem, ...]
    policy: Policy
    verifier: Verifier
    memory: Memory
    embedder: Embedder
    reflector: dspy.Module | None
    """None, as is the generaliser, where nothing is written: in evaluation."""
    generaliser: dspy.Module | None
    trainer: Trainer | None
    """None: the policy stays frozen."""
    context: int
    """Tokens that the policy can read and write in all."""
    environments: Environments | None = None
    """What answers an attempt at a problem, where attempts are episodes."""
    traces: Mapping[str, tuple[Experience, ...]] = field(default_factory=dict)
    """Problem id -> what others have tried: chats of an application (problems.type=traces)."""
    prefix: str = ""
    """Leads the ids of all that this run writes, so that they differ from those of a bank."""
    ahead: dict[int, list[list[Rollout]]] = field(default_factory=dict)
    """A coming step -> its attempts, where they were sampled ahead (rollout.lag)."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """What the steps before this one reported."""
    first_step: int = 0
    """At which this process began."""
    show: Show = field(default=lambda stage, step, steps: nullcontext())
    """Shows each stage while it goes: given its name, the step and how many steps there are."""

    def save(self, folder: Path) -> None:
        """All that the next step goes on from, but for the memory: weights, optimiser, attempts sampled ahead, programs."""
        if self.trainer is not None:
            self.trainer.save(folder)
        write_ahead(self.ahead, folder)
        self.save_programs(folder)

    def save_programs(self, folder: Path) -> None:
        """The instructions and examples of the programs, as files that their `load` reads."""
        from pmd_agent.pipelines.state import write_state

        write_state(self.reflector, folder / "reflector.json")
        write_state(self.generaliser, folder / "generaliser.json")


@dataclass(slots=True)
class Metrics:
    """What one step reports."""

    step: int
    values: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    traces: list[ProgramTrace] = field(default_factory=list)
    """What the programs were asked, and what they said."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def record(self) -> dict[str, Any]:
        seconds = {name: round(s, 3) for name, s in self.seconds.items()}
        return {
            "step": self.step,
            **self.values,
            "stage_seconds": seconds,
            "seconds": round(sum(self.seconds.values()), 3),
        }


def stage(function: Callable[Concatenate[Parts, Metrics, P], R]) -> Callable[Concatenate[Parts, Metrics, P], R]:
    """Times the stage under its own name, and shows that it goes."""

    def timed(parts: Parts, m: Metrics, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with parts.show(function.__name__, m.step, parts.steps), m.stage(function.__name__):
            return function(parts, m, *args, **kwargs)

    update_wrapper(timed, function)
    return timed


def seed_for(recipe: Recipe, *what: int) -> int:
    """A seed of its own for every (step, purpose), so that a resumed run draws what an unbroken one would have drawn."""
    seed = recipe.seed
    for part in what:
        seed = (seed * 1_000_003 + part + 1) % 2**31
    return seed


def frozen(parts: Parts, step: int) -> bool:
    """Whether memory takes nothing in at this step."""
    settings = parts.recipe.memory
    return settings.frozen or (settings.freeze_after is not None and step >= settings.freeze_after)


def reads_memory(parts: Parts) -> bool:
    """Whether there is a memory that outlives a step, and it is to be evaluated."""
    settings = parts.recipe.memory
    return parts.recipe.evaluate.with_memory and settings.persist and bool(settings.tiers)


def due(every: int, step: int) -> bool:
    """Whether what is done every so many steps (0: never) is done at this one."""
    return bool(every) and (step + 1) % every == 0


def nothing_checked(verified: Verified) -> RunError:
    """Of rollouts of which the verifier could not check a single one: nothing that follows would mean anything."""
    return RunError(
        f"Not one of {verified.unchecked} rollouts could be checked. The first: {verified.first_reason}",
        "Mend what the verifier (problems.verifier) needs, and go on with --resume; with another verifier, start another run.",
    )
