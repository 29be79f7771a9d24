"""The time that is left is right within a fifth after ten steps, whatever is done only every so many steps."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pmd_agent.stages.time_left import left


def run_of(
    steps: int, seed: int, *, every: dict[str, int], costs: dict[str, float], first: float
) -> list[dict[str, Any]]:
    """Metrics of a run whose step takes about 10 s, and more where something is due. The first takes `first` more."""
    draw = random.Random(seed)
    rows = []
    for step in range(steps):
        seconds = {"attempt": draw.uniform(4, 6), "distil": draw.uniform(4, 6) + first * (step == 0)}
        for name, often in every.items():
            seconds[name] = draw.uniform(0.9, 1.1) * costs[name] * (often > 0 and (step + 1) % often == 0)
        rows.append({"step": step, "stage_seconds": seconds})
    return rows


def total(rows: list[dict[str, Any]]) -> float:
    return sum(sum(row["stage_seconds"].values()) for row in rows)


@pytest.mark.parametrize("validation", [0, 1, 3, 5, 7, 10, 16, 25])
@pytest.mark.parametrize("behaviors", [1, 4, 10])
@pytest.mark.parametrize(("steps", "first"), [(32, 0.0), (64, 90.0), (200, 90.0)])
def test_within_a_fifth_after_ten_steps(validation: int, behaviors: int, steps: int, first: float) -> None:
    every, costs = {"evaluate": validation, "generalise": behaviors}, {"evaluate": 60.0, "generalise": 8.0}
    rows = run_of(steps, validation, every=every, costs=costs, first=first)
    for seen in range(10, steps - 2):
        # Of a validation that was not seen, the base's evaluation told within a quarter what it takes.
        said = left(rows[:seen][-32:], range(seen, steps), first=0, every=every, unseen={"evaluate": 48.0}, after=120.0)
        truth = total(rows[seen:]) + 120.0
        assert said is not None and abs(said - truth) < 0.2 * truth, (seen, said, truth)


def test_a_resumed_run_knows_at_once_and_leaves_out_its_own_first_step() -> None:
    rows = run_of(40, 0, every={}, costs={}, first=0.0)
    rows[20]["stage_seconds"]["distil"] += 500.0
    said = left(rows[:21], range(21, 40), first=20, every={}, unseen={}, after=0.0)
    assert said is not None and abs(said - total(rows[21:])) < 0.2 * total(rows[21:])


def test_a_first_step_is_all_that_is_known_of_the_others() -> None:
    rows: list[dict[str, Any]] = [{"step": 0, "stage_seconds": {"attempt": 3.0}}]
    assert left(rows, range(1, 5), first=0, every={}, unseen={}, after=1.0) == 13.0
    assert left([], range(1), first=0, every={}, unseen={}, after=1.0) is None
