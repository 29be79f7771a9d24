"""How often intervals hold the truth, by simulation: python tests/evaluation/simulate_coverage.py [--times 1000] [--seeds 3 5]

Chances of a right answer are sigmoid(mean + seed + problem), seed and problem normal with a standard deviation of their own;
so the truth, the mean over all seeds and problems there could be, is an integral over one normal variable. Two arms share their
problems, and half of the variance of seeds (a hard world is hard for both).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from pmd_agent.evaluation.intervals import Estimate, Scores, difference, estimate

SEEDS = (1, 2, 3, 5, 10)
SCATTERS = (0.0, 0.4, 0.8)
"""Of seeds, in logits: 0, 10 and 18 points at an accuracy of one half."""
ACCURACIES = (0.1, 0.3, 0.7, 0.95)
SIZES = ((60, 1), (60, 8), (600, 1))
"""(problems, samples of each)"""
HARDNESS = (0.0, 1.5)
"""Scatter of problems, in logits."""
OTHER = 0.8
"""The other arm's accuracy, as a share of the first's."""
QUANTITIES = ("mean", "difference", "ratio")

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


@dataclass(frozen=True)
class Case:
    """One way to draw runs."""

    seeds: int
    shared: bool
    """Whether all seeds have the same test problems."""
    scatter: float
    accuracy: float
    problems: int
    samples: int
    hardness: float


def cases(seeds: int, shared: bool) -> Iterator[Case]:
    """All of that design; one seed cannot tell of others, so there it has no scatter."""
    scatters = SCATTERS if seeds > 1 else (0.0,)
    for scatter, accuracy, size, hardness in itertools.product(scatters, ACCURACIES, SIZES, HARDNESS):
        yield Case(seeds, shared, scatter, accuracy, *size, hardness)


def drawn(case: Case, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """The scores of two arms, the other with `OTHER` of the first's accuracy."""
    variance = case.scatter**2 + case.hardness**2
    shape = (1 if case.shared else case.seeds, case.problems)
    problems = case.hardness * rng.standard_normal(shape)
    worlds = case.scatter * np.sqrt(0.5) * rng.standard_normal((case.seeds, 1))
    names = _names(case)
    arms = []
    for accuracy in (case.accuracy, OTHER * case.accuracy):
        seeds = worlds + case.scatter * np.sqrt(0.5) * rng.standard_normal((case.seeds, 1))
        scores = rng.binomial(case.samples, expit(_logit(accuracy, variance) + seeds + problems)) / case.samples
        arms.append({s: dict(zip(names[s], scores[s].tolist(), strict=True)) for s in range(case.seeds)})
    return arms[0], arms[1]


@dataclass(frozen=True)
class Held:
    """What became of one quantity in many draws of one case."""

    shown: int
    """Draws that had an interval: a ratio has none where its denominator may be zero."""
    held: int
    """Of these intervals, those with the truth in them."""
    width: float
    """Their mean width."""


def measured(case: Case, times: int, seed: int = 0) -> dict[str, Held]:
    """Each of `QUANTITIES`."""
    rng = np.random.default_rng([seed, case.seeds, case.shared, round(100 * case.accuracy), case.problems])
    truths = {"mean": case.accuracy, "difference": (1 - OTHER) * case.accuracy, "ratio": 1 / OTHER - 1}
    found: dict[str, list[Estimate]] = {name: [] for name in QUANTITIES}
    for _ in range(times):
        this, other = drawn(case, rng)
        apart = difference(this, other)
        assert apart is not None
        found["mean"].append(estimate(this))
        found["difference"].append(apart.points)
        found["ratio"] += [apart.relative] if apart.relative is not None else []
    return {name: _held(each, truths[name]) for name, each in found.items()}


def _held(found: list[Estimate], truth: float) -> Held:
    if not found:
        return Held(0, 0, float("nan"))
    low, high = np.array([(each.low, each.high) for each in found], float).T
    return Held(len(found), int(((low <= truth) & (truth <= high)).sum()), float((high - low).mean()))


@lru_cache(maxsize=1)
def _names(case: Case) -> list[list[str]]:
    return [[f"{0 if case.shared else seed}/{i}" for i in range(case.problems)] for seed in range(case.seeds)]


@lru_cache
def _logit(accuracy: float, variance: float) -> float:
    """The mean logit at which the mean chance is `accuracy`."""

    def missing(mean: float) -> float:
        return float((_WEIGHTS * expit(mean + np.sqrt(variance) * _NODES)).sum() / _WEIGHTS.sum()) - accuracy

    return float(brentq(missing, -30, 30))


def main() -> None:
    """A Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1000, help="draws of each case")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    asked = parser.parse_args()
    print("| seeds | test problems | scatter | quantity | shown | held | least of a case | median width, points |")
    print("|---|---|---|---|---|---|---|---|")
    for seeds, shared in itertools.product(asked.seeds, (False, True)):
        rows = [(case, measured(case, asked.times)) for case in cases(seeds, shared)]
        for scatter, name in itertools.product(SCATTERS if seeds > 1 else (0.0,), QUANTITIES):
            found = [each[name] for case, each in rows if case.scatter == scatter]
            print(
                f"| {seeds} | {'same' if shared else 'own'} | {scatter} | {name} | {_row(found, asked.times)} |",
                flush=True,
            )


def _row(found: list[Held], times: int) -> str:
    """Least: of the cases that had an interval in half of the draws."""
    shown, held = sum(each.shown for each in found), sum(each.held for each in found)
    least = min((each.held / each.shown for each in found if each.shown >= times / 2), default=float("nan"))
    width = np.nanmedian([each.width for each in found])
    return f"{shown / times / len(found):.2f} | {held / shown:.3f} | {least:.3f} | {100 * width:.1f}"


if __name__ == "__main__":
    main()
