"""Training, validation and test problems, as the section `problems` of a recipe says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pmd_agent.errors import ProblemError
from pmd_agent.problems import (
    custom_rows,
    house_rules,
    humaneval,
    livecodebench,
    mathematics,
    mbpp,
    reasoning_gym_tasks,
    sciknoweval,
    tickets,
    traces,
    verifiers_package,
    world,
)
from pmd_agent.problems.function import load_function
from pmd_agent.problems.instructions import instructions
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.recipe.problems import Mapped, Problems
from pmd_agent.types import Problem


def _nothing_given(**_: object) -> Split:
    raise ProblemError(
        "The recipe's problems were given as objects in Python (problems.type=given), and no folder of a run holds them.",
        "Give them: pmd_agent.Run.create(RECIPE, problems=[...]).",
    )


SOURCES: dict[str, Callable[..., Split]] = {
    "world": world.load,
    "house_rules": house_rules.load,
    "tickets": tickets.load,
    "reasoning_gym": reasoning_gym_tasks.load,
    "verifiers": verifiers_package.load,
    "sciknoweval": sciknoweval.load,
    "livecodebench": livecodebench.load,
    "humaneval": humaneval.load,
    "mbpp": mbpp.load,
    "math": mathematics.load,
    "file": custom_rows.load,
    "hub": custom_rows.load_from_hub,
    "python": load_function,
    "given": _nothing_given,
    "traces": traces.load,
}
"""`problems.type` -> what loads it. It is called with the section's keys, but those that mean the same everywhere."""
_EVERYWHERE = frozenset(
    ("type", "verifier", "parse", "sandbox", "feedback", "validation_fraction", "environment", "episodes", "tools")
)


@dataclass(frozen=True, slots=True)
class ProblemSets:
    """What a run works with."""

    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    test: tuple[Problem, ...]
    skipped: tuple[str, ...] = ()
    """Rows that did not fit, with their reasons."""


def load_problems(section: Problems) -> ProblemSets:
    """The problems that a recipe names, split three ways. Raises ProblemError."""
    keys = [name for name in type(section).model_fields if name not in _EVERYWHERE]
    given = {name: getattr(section, name) for name in keys}
    if not getattr(section, "judged", True):  # nothing can be measured, so nothing is held out
        split = SOURCES[section.type](**given | {"test_fraction": 0.0})
        return ProblemSets(split.train, (), (), split.skipped)
    return divided(SOURCES[section.type](**given), section)


def divided(split: Split, section: Problems) -> ProblemSets:
    """With validation problems, of which as of test problems no verdict quotes a test. Raises ProblemError."""
    train, validation = split.train, split.validation
    if validation is None:
        fraction, seed = getattr(section, "validation_fraction", 0.0), getattr(section, "seed", 0)
        # Where training and test have the same problems, validation has some of them too, and nothing leaves training.
        kept, validation = hold_out(split.test if split.same_problems else train, fraction, seed)
        train = train if split.same_problems else kept
    trained = {problem.id for problem in train}
    validation, test = _closed(validation, trained), _closed(split.test, trained)
    if isinstance(section, Mapped) and section.system_text is None:
        train, validation, test = (_instructed(part, section.verifier) for part in (train, validation, test))
    return ProblemSets(train, validation, test, split.skipped)


def _instructed(problems: tuple[Problem, ...], verifier: str) -> tuple[Problem, ...]:
    return tuple(p if p.system else replace(p, system=instructions(verifier, p)) for p in problems)


def _closed(problems: tuple[Problem, ...], trained: set[str]) -> tuple[Problem, ...]:
    """Problems of which a verdict quotes no test. Those that are trained on as well say themselves which may be quoted."""
    return tuple(p if p.id in trained else _hidden(p) for p in problems)


def _hidden(problem: Problem) -> Problem:
    data = dict(problem.data)
    if "check" in data:
        data["hidden"] = True
    if isinstance(tests := data.get("tests"), list | tuple):
        data["tests"] = [{**test, "hidden": True} if isinstance(test, dict) else test for test in tests]
    return replace(problem, data=data) if data != problem.data else problem
