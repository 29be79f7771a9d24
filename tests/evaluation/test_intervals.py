from __future__ import annotations

import math
import random

import numpy as np
import pytest

from pmd_agent.evaluation.intervals import Scores, difference, estimate, mean_of


def scores(rng: random.Random, seeds: int, problems: int, chance: float, spread: float = 0.0) -> Scores:
    """Right or wrong, with so much spread of the chance between seeds."""
    found = {}
    for seed in range(seeds):
        p = min(1.0, max(0.0, chance + rng.gauss(0, spread)))
        found[seed] = {str(i): float(rng.random() < p) for i in range(problems)}
    return found


def test_every_seed_counts_the_same() -> None:
    assert mean_of({0: {"a": 1.0}, 1: {"a": 0.0, "b": 0.0, "c": 0.0}}) == 0.5
    with pytest.raises(ValueError, match="no scores"):
        mean_of({0: {}})


def test_with_one_seed_the_interval_is_the_textbooks() -> None:
    found = estimate(scores(random.Random(0), 1, 400, 0.3))
    error = math.sqrt(found.mean * (1 - found.mean) / 400)
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.006)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.006)


def test_two_levels_have_the_variance_of_both() -> None:
    """Var = between seeds / S + within / (S P), which a bootstrap over problems alone would miss."""
    given = scores(random.Random(1), 12, 150, 0.5, spread=0.15)
    found = estimate(given, draws=20_000)
    means = [np.mean(list(rows.values())) for rows in given.values()]
    within = np.mean([m * (1 - m) / 150 for m in means])
    error = math.sqrt(np.var(means) / 12 + within / 12)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.06)
    assert error > 3 * math.sqrt(within / 12), "the seeds are most of it"


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, hits = random.Random(2), 0
    for _ in range(150):
        a, b = scores(rng, 8, 60, 0.6), scores(rng, 8, 60, 0.5)
        found = difference(a, b, draws=500)
        assert found is not None
        hits += found.points.low <= 0.1 <= found.points.high
    assert 0.88 <= hits / 150 <= 1.0


def test_seeds_that_share_their_problems_do_not_make_these_representative() -> None:
    """60 problems of their own difficulty, the same in five seeds: drawn anew in each seed, the interval held .66 of the truths."""
    rng, hits = random.Random(4), 0
    for _ in range(150):
        hard = [rng.betavariate(1.0, 1.0) for _ in range(60)]
        given = {
            s: {str(i): sum(rng.random() < p for _ in range(16)) / 16 for i, p in enumerate(hard)} for s in range(5)
        }
        found = estimate(given, draws=500)
        hits += found.low <= 0.5 <= found.high
    assert 0.88 <= hits / 150 <= 1.0


def test_seeds_that_share_some_problems() -> None:
    """Every draw holds as many problems of each seed as there are; what all share is worth the same in all."""
    given = {0: {"a": 1.0, "b": 0.0}, 1: {"a": 1.0, "c": 0.0}, 2: {"d": 0.5}}
    found = estimate(given)
    assert found.mean == 0.5 and 0.0 <= found.low <= found.high <= 1.0
    assert estimate({0: {"a": 1.0, "b": 0.5}, 1: {"a": 1.0, "b": 0.5}}).high == 1.0


def test_what_two_arms_have_in_common_cancels() -> None:
    hard = scores(random.Random(3), 5, 100, 0.5, spread=0.2)
    better = {seed: {p: 1.0 if p in "0123456789" else s for p, s in rows.items()} for seed, rows in hard.items()}
    found = difference(better, hard)
    assert found is not None and found.seeds == 5 and found.problems == 500
    assert found.points.low > 0 and found.points.clear
    alone = estimate(better)
    assert found.points.high - found.points.low < (alone.high - alone.low) / 2
    same = difference(hard, hard)
    assert same is not None and (same.points.low, same.points.mean, same.points.high) == (0, 0, 0)
    assert not same.points.clear


def test_only_common_seeds_and_problems_are_compared() -> None:
    a = {0: {"x": 1.0, "only a": 0.0}, 1: {"x": 1.0}, 7: {"x": 0.0}}
    b = {0: {"x": 0.0}, 1: {"x": 0.5}, 8: {"x": 1.0}}
    found = difference(a, b)
    assert found is not None and (found.seeds, found.problems) == (2, 2)
    assert found.points.mean == 0.75
    assert found.relative is None, "the other arm may be 0 in a draw"
    assert difference({0: {"x": 1.0}}, {1: {"x": 1.0}}) is None


def test_relative_is_of_the_means() -> None:
    found = difference({0: {"x": 0.9, "y": 0.9}}, {0: {"x": 0.6, "y": 0.6}})
    assert found is not None and found.relative is not None
    assert found.relative.mean == pytest.approx(0.5) and found.relative.low == pytest.approx(0.5)
