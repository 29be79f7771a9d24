"""The same problem under two ids: within the training part, and between parts, where it makes a score look better than it is.

Two problems are the same here where their prompts are, case and white space aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pmd_agent.problems.sets import ProblemSets
from pmd_agent.types import Problem


@dataclass(frozen=True, slots=True)
class Repeated:
    """One prompt that is there more than once."""

    ids: tuple[str, ...]
    """Of the problems, in order."""
    answers: bool = False
    """Whether they have different answers."""


def repeated(problems: Sequence[Problem]) -> tuple[Repeated, ...]:
    """The prompts that are there more than once."""
    groups = _by_prompt(problems)
    return tuple(_repeated(group) for group in groups.values() if len(group) > 1)


def shared(one: Sequence[Problem], other: Sequence[Problem]) -> tuple[Repeated, ...]:
    """The prompts that are in both under two ids. A problem that is in both under one id is meant to be, and not among them."""
    known = _by_prompt(one)
    found = []
    for problem in other:
        group = known.get(_key(problem), [])
        if group and problem.id not in [p.id for p in group]:
            found.append(_repeated([group[0], problem]))
    return tuple(found)


def overlaps(sets: ProblemSets) -> dict[str, tuple[Repeated, ...]]:
    """Within and between the parts, by name."""
    return {
        "twice in training": repeated(sets.train),
        "in training and in validation": shared(sets.train, sets.validation),
        "in training and in test": shared(sets.train, sets.test),
        "in validation and in test": shared(sets.validation, sets.test),
    }


def _by_prompt(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(_key(problem), []).append(problem)
    return groups


def _key(problem: Problem) -> str:
    return " ".join(problem.prompt.casefold().split())


def _repeated(group: Sequence[Problem]) -> Repeated:
    return Repeated(tuple(p.id for p in group), len({p.answer for p in group}) > 1)
