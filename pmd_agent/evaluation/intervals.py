"""Means over seeds and problems, and how sure they are.

A score is y = mean + seed + problem + rest. The mean over S seeds then has the variance s²/S + c: s² is that of the seeds'
means, c the covariance of two seeds' means, which seeds have that share test problems (two crossed random effects; c is 0 where
every seed has problems of its own). Half of an interval is the root of

    t(S - 1)² · s²/S + t(N - 1)² · c                   S seeds, N different problems, t: Student's, at 97.5 %

a quantile for each part with its own degrees of freedom, as Howe (1974) adds them; and it is never shorter than what the
problems alone give: few seeds agree by chance. That part has two problems more than there are, one at each end of
the scale, so that twenty right answers of twenty are not held for certain (as Agresti and Coull 1998 do it for counts).

A mean of scores in [0, 1] has Wilson's form of that interval (1927), which reaches further from the nearer end; a difference
has it as it is; a ratio is by Fieller's theorem, and has none where the denominator is not clear of zero. Problems are
paired by their id and seeds by their number, so that what two arms have in common cancels in their difference. With one seed
the interval is over problems only, and says nothing of other seeds. tests/evaluation/test_coverage.py measures how often
all of these hold the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95

Scores = Mapping[int, Mapping[str, float]]
"""Seed -> problem id -> score in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval. Both ends are None where none can be had: one problem says nothing of others."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def clear(self) -> bool | None:
        """Whether zero is outside the interval; None without one."""
        if self.low is None or self.high is None:
            return None
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One arm against another, on the seeds and problems that both have."""

    points: Estimate
    """Mean of (this - other), in [-1, 1]."""
    relative: Estimate | None
    """Mean of this over mean of other, minus 1; None where the other is not clear of 0."""
    seeds: int
    problems: int


def mean_of(scores: Scores) -> float:
    """Mean over seeds of the mean over problems. ValueError without any."""
    means = [np.mean(list(rows.values())) for rows in scores.values() if rows]
    if not means:
        raise ValueError("no scores")
    return float(np.mean(means))


def estimate(scores: Scores) -> Estimate:
    """`mean_of` with its interval."""
    mean = mean_of(scores)
    of = {number: problems for number, problems in scores.items() if problems}
    rows = [np.array(list(problems.values()), float)[None] for problems in of.values()]
    squares = _squares(rows, [list(problems) for problems in of.values()])
    if squares is None:
        return Estimate(mean)
    whole, problems_only = (float(np.sqrt(square[0, 0])) for square in squares)
    each = sum(map(len, of.values())) / len(of)
    inner = (mean * each + 1) / (each + 2)  # off the ends, by the two problems that `_with_ends` adds
    spread = inner * (1 - inner)
    low, high = _wilson(mean, problems_only, spread)
    if len(of) > 1:
        low_too, high_too = _wilson(inner, whole, spread)
        low, high = min(low, low_too), max(high, high_too)
    return Estimate(mean, min(low, mean), max(high, mean))


def difference(this: Scores, other: Scores) -> Difference | None:
    """This arm against the other one; None where they share no seed with common problems."""
    pairs, names = [], []
    for number in sorted(this.keys() & other.keys()):
        common = sorted(this[number].keys() & other[number].keys())
        if common:
            names.append(common)
            pairs.append(np.array([[scores[number][p] for p in common] for scores in (this, other)], float))
    if not pairs:
        return None
    a, b = (float(np.mean([pair[i].mean() for pair in pairs])) for i in (0, 1))
    squares = _squares(pairs, names)
    problems = sum(map(len, names))
    if squares is None:
        return Difference(Estimate(a - b), None, len(pairs), problems)
    apart = np.array([1.0, -1.0])
    half = max(0.0, *(float(apart @ square @ apart) for square in squares)) ** 0.5
    points = Estimate(a - b, max(-1.0, a - b - half), min(1.0, a - b + half))
    return Difference(points, _ratio(a, b, squares), len(pairs), problems)


def _squares(rows: Sequence[np.ndarray], names: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray] | None:
    """(of seeds and problems, of problems alone): half widths squared, as forms (arms, arms) for any weights of the arms.

    `rows` holds for each seed (arms, problems), `names` the ids of these problems. None where there is but one problem.
    """
    seeds, different = len(rows), len(set().union(*names))
    shared = different < sum(map(len, names))
    if different < 2:
        return None
    of_problems = float(stdtrit(different - 1, (1 + LEVEL) / 2)) ** 2
    alone = of_problems * _within(*_with_ends(rows, names, shared))
    if seeds == 1:
        return alone, alone
    means = np.array([scores.mean(1) for scores in rows])
    whole = float(stdtrit(seeds - 1, (1 + LEVEL) / 2)) ** 2 * np.atleast_2d(np.cov(means.T)) / seeds
    return whole + (of_problems * _shared(rows, names) if shared else 0.0), alone


def _table(rows: Sequence[np.ndarray], names: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """(arms, seeds, problems) deviations from the seeds' means, 0 where a seed lacks a problem; (seeds, problems) which it has."""
    index = {name: i for i, name in enumerate(dict.fromkeys(chain.from_iterable(names)))}
    table = np.zeros((rows[0].shape[0], len(rows), len(index)))
    has = np.zeros((len(rows), len(index)))
    for seed, (scores, of) in enumerate(zip(rows, names, strict=True)):
        where = [index[name] for name in of]
        table[:, seed, where] = scores - scores.mean(1, keepdims=True)
        has[seed, where] = 1.0
    return table, has


def _within(rows: Sequence[np.ndarray], names: Sequence[Sequence[str]]) -> np.ndarray:
    """The mean's variance (arms, arms) over problems, with these seeds."""
    table, has = _table(rows, names)
    each = has.sum(1)
    table = table / np.sqrt(each * np.maximum(each - 1, 1))[:, None] / len(rows)
    summed = table.sum(1)
    return np.asarray(summed @ summed.T)


def _shared(rows: Sequence[np.ndarray], names: Sequence[Sequence[str]]) -> np.ndarray:
    """The mean covariance (arms, arms) of two seeds' means, from the problems that they share; nothing below zero."""
    table, has = _table(rows, names)
    common = has @ has.T  # problems of each two seeds
    np.fill_diagonal(common, 0.0)
    summed = table.sum(1)
    products = summed @ summed.T - sum(table[:, s] @ table[:, s].T for s in range(len(rows)))
    of_one = products / max(np.maximum(common - 1, 0).sum(), 1)
    values, vectors = np.linalg.eigh((of_one + of_one.T) / 2)
    each = has.sum(1)
    weight = (common / np.outer(each, each)).sum() / (len(rows) * (len(rows) - 1))
    return np.asarray(weight * (vectors * np.maximum(values, 0)) @ vectors.T)


def _with_ends(
    rows: Sequence[np.ndarray], names: Sequence[Sequence[str]], shared: bool
) -> tuple[list[np.ndarray], list[list[str]]]:
    """With two problems more in each seed: of one arm, one missed and one solved; of two, one that each alone has solved."""
    ends = np.array([[0.0, 1.0]]) if len(rows[0]) == 1 else np.eye(2)
    more = [[f"\0{end}" if shared else f"\0{end} {seed}" for end in "ab"] for seed in range(len(rows))]
    return [np.hstack([scores, ends]) for scores in rows], [[*of, *new] for of, new in zip(names, more, strict=True)]


def _wilson(mean: float, half: float, spread: float) -> tuple[float, float]:
    """All m from which `mean` is no further than half a width that goes with m · (1 - m), and is `half` where that is `spread`."""
    q = half**2 / spread
    middle, reach = mean + q / 2, np.sqrt(q * mean * (1 - mean) + q**2 / 4)
    return float(max(0.0, (middle - reach) / (1 + q))), float(min(1.0, (middle + reach) / (1 + q)))


def _ratio(a: float, b: float, squares: Sequence[np.ndarray]) -> Estimate | None:
    """a / b - 1 by Fieller's theorem: all r with (a - r b)² within the square of half a width of a - r b."""
    ends = []
    for square in squares:
        first, middle, last = b**2 - square[1, 1], a * b - square[0, 1], a**2 - square[0, 0]
        if first <= 0:
            return None
        reach = np.sqrt(max(middle**2 - first * last, 0.0))
        ends += [(middle - reach) / first, (middle + reach) / first]
    return Estimate(a / b - 1, max(0.0, float(min(ends))) - 1, float(max(ends)) - 1)
