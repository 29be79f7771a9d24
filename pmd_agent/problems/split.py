"""Train and test problems, and how some of them are held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pmd_agent.errors import ProblemError
from pmd_agent.types import Problem


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained on, and what is only measured on. No id is in both, but LiveCodeBench's, whose tests are divided."""

    train: tuple[Problem, ...]
    test: tuple[Problem, ...]
    skipped: tuple[str, ...] = ()
    """Rows that were left out because `max_bad_fraction` allows it, each as `where: reason`."""
    validation: tuple[Problem, ...] | None = None
    """For choosing a checkpoint without looking at the test. None: the source has none, some of train is held out for it."""
    same_problems: bool = False
    """Train and test are the same problems, with other tests."""


def hold_out(
    problems: Sequence[Problem], fraction: float, seed: int = 42
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """(kept, held): `fraction` of every kind is held, rounded up, but never all of a kind. Both keep the given order.

    Depends on the order and number of the problems and on `seed`, on nothing else. The permutation and the rounding are
    those of `datasets.Dataset.train_test_split`, so that seed 42 and fraction 0.1 on a domain of SciKnowEval hold out
    exactly the questions that SDPO held out. ProblemError if the fraction is not in [0, 1) or would hold nothing.
    """
    if not 0.0 <= fraction < 1.0:
        raise ProblemError(f"A fraction of {fraction} cannot be held out.", "Give a number from 0 to below 1.")
    if fraction == 0.0:
        return tuple(problems), ()
    import numpy

    by_kind: dict[str, list[int]] = {}
    for index, problem in enumerate(problems):
        by_kind.setdefault(problem.kind, []).append(index)
    held: set[int] = set()
    for indices in by_kind.values():
        # 0.07 * 100 is a little over 7: without rounding, ceil makes 8 of it.
        count = min(math.ceil(round(fraction * len(indices), 9)), len(indices) - 1)
        order = numpy.random.default_rng(seed).permutation(len(indices))
        held.update(indices[position] for position in order[:count])
    if not held:
        raise ProblemError(
            f"{len(problems)} problems of {len(by_kind)} kinds are too few to hold out {fraction:g} of each kind.",
            "Give more problems, a test file, or a fraction of 0.",
        )
    return (
        tuple(problem for index, problem in enumerate(problems) if index not in held),
        tuple(problem for index, problem in enumerate(problems) if index in held),
    )


def first_of_each_kind(problems: tuple[Problem, ...], count: int | None) -> tuple[Problem, ...]:
    """The first `count` of each kind, in their order; None: all."""
    if count is None:
        return problems
    taken: dict[str, int] = {}
    kept = []
    for problem in problems:
        taken[problem.kind] = taken.get(problem.kind, 0) + 1
        if taken[problem.kind] <= count:
            kept.append(problem)
    return tuple(kept)
