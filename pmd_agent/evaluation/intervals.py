"""Means over seeds and problems, and how sure they are: a bootstrap that draws seeds, and within each seed problems.

Problems are paired by their id and seeds by their number, so that what two arms have in common (a hard world, a hard
problem) cancels in their difference (Efron and Tibshirani 1993, chapter 8; two levels as in Davison and Hinkley 1997,
section 3.8). Where seeds share test problems, as with one split of a file for all, a draw takes the same problems in all
of them (a crossed design: Owen 2007, The pigeonhole bootstrap): drawn for each seed anew, what is particular to these problems
would seem to average out over seeds, and intervals come out too narrow. With one seed only problems are drawn: the interval
then says nothing of other seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DRAWS = 5_000
LEVEL = 0.95
_CHUNK = 250
"""Draws at one time: so many weights for each problem are in memory."""

Scores = Mapping[int, Mapping[str, float]]
"""Seed -> problem id -> score in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the interval that holds the middle 95 % of what the bootstrap drew."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One arm against another, on the seeds and problems that both have."""

    points: Estimate
    """Mean of (this - other), in [-1, 1]."""
    relative: Estimate | None
    """Mean of this over mean of other, minus 1; None where the other is 0 in a draw."""
    seeds: int
    problems: int


def mean_of(scores: Scores) -> float:
    """Mean over seeds of the mean over problems. ValueError without any."""
    means = [np.mean(list(rows.values())) for rows in scores.values() if rows]
    if not means:
        raise ValueError("no scores")
    return float(np.mean(means))


def estimate(scores: Scores, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """`mean_of` with its interval."""
    of = {number: problems for number, problems in scores.items() if problems}
    rows = [np.array(list(problems.values()), float)[None] for problems in of.values()]
    return _estimate(mean_of(scores), _draw(rows, [list(problems) for problems in of.values()], draws, seed)[0])


def difference(this: Scores, other: Scores, *, draws: int = DRAWS, seed: int = 0) -> Difference | None:
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
    drawn_a, drawn_b = _draw(pairs, names, draws, seed)
    relative = _estimate(a / b - 1, drawn_a / drawn_b - 1) if b > 0 and drawn_b.min() > 0 else None
    problems = sum(pair.shape[1] for pair in pairs)
    return Difference(_estimate(a - b, drawn_a - drawn_b), relative, len(pairs), problems)


def _draw(rows: list[np.ndarray], names: list[list[str]], draws: int, seed: int) -> np.ndarray:
    """(arms, draws) means. `rows` holds for each seed (arms, problems), `names` the ids of these problems.

    A draw takes the same problems for all arms, and for all seeds that share them.
    """
    if len({name for of in names for name in of}) < sum(map(len, names)):
        return _draw_crossed(rows, names, draws, seed)
    rng = np.random.default_rng(seed)
    arms, seeds = rows[0].shape[0], len(rows)
    totals = np.zeros((arms, draws))
    chosen = rng.integers(seeds, size=(draws, seeds))
    for i, scores in enumerate(rows):
        times = (chosen == i).sum(1)  # how often each draw takes this seed
        for _ in range(int(times.max(initial=0))):
            wanted = times > 0
            problems = rng.integers(scores.shape[1], size=(int(wanted.sum()), scores.shape[1]))
            totals[:, wanted] += scores[:, problems].mean(-1)
            times = times - wanted
    return totals / seeds


def _draw_crossed(rows: list[np.ndarray], names: list[list[str]], draws: int, seed: int) -> np.ndarray:
    """`_draw` where seeds share problems: those that the same seeds have are drawn together, as many as there are."""
    rng = np.random.default_rng(seed)
    index = {name: i for i, name in enumerate(dict.fromkeys(name for of in names for name in of))}
    where = [np.array([index[name] for name in of]) for of in names]
    seeds_of: dict[int, list[int]] = {i: [] for i in index.values()}
    for number, problems in enumerate(where):
        for i in problems:
            seeds_of[int(i)].append(number)
    blocks: dict[tuple[int, ...], list[int]] = {}
    for i, seeds in seeds_of.items():
        blocks.setdefault(tuple(seeds), []).append(i)
    totals = np.zeros((rows[0].shape[0], draws))
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        times = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=size)  # of each seed
        weights = np.zeros((size, len(index)))
        for block in blocks.values():
            weights[:, block] = rng.multinomial(len(block), np.full(len(block), 1 / len(block)), size=size)
        for number, scores in enumerate(rows):
            means = scores @ weights[:, where[number]].T / scores.shape[1]
            totals[:, start : start + size] += means * times[:, number]
    return totals / len(rows)


def _estimate(mean: float, drawn: np.ndarray) -> Estimate:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high))
