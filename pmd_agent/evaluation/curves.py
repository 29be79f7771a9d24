"""Validation accuracy against rollouts and against seconds of training, over the runs of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pmd_agent.evaluation.finished_runs import FinishedRun, Point

Axis = Literal["rollouts", "seconds"]


def at(run: FinishedRun, where: float, axis: Axis = "seconds") -> float | None:
    """A run's memory-free validation accuracy at so many seconds or rollouts, between two validations on a straight line.

    None before the first validation. After the last one, the last one's.
    """
    if not run.curve or where < _x(run.curve[0], axis):
        return None
    return float(np.interp(where, [_x(p, axis) for p in run.curve], [p.free for p in run.curve]))


def mean_at(runs: Sequence[FinishedRun], where: float, axis: Axis = "seconds") -> float | None:
    """The mean of `at`; None where a run has no value there."""
    values = [at(run, where, axis) for run in runs]
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if values and len(known) == len(values) else None


def reached(runs: Sequence[FinishedRun], accuracy: float, axis: Axis = "rollouts") -> float | None:
    """Where the runs' mean accuracy first is so high, at one of their validations; None where it never is."""
    for where in sorted({_x(p, axis) for run in runs for p in run.curve}):
        mean = mean_at(runs, where, axis)
        if mean is not None and mean >= accuracy:
            return where
    return None


def mean_curve(
    runs: Sequence[FinishedRun], axis: Axis, *, with_memory: bool = False
) -> list[tuple[float, float, float, float]]:
    """(where, mean, least, greatest) at each number of validations that all runs have; `where` is the mean over runs."""
    points = []
    for row in zip(*(run.curve for run in runs), strict=False):
        values = [p.with_memory if with_memory else p.free for p in row]
        known = [v for v in values if v is not None]
        if len(known) == len(row):
            points.append((float(np.mean([_x(p, axis) for p in row])), float(np.mean(known)), min(known), max(known)))
    return points


def _x(point: Point, axis: Axis) -> float:
    return float(point.rollouts if axis == "rollouts" else point.seconds)
