from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.stats

from pmd_agent.evaluation.intervals import Estimate, Scores, difference, estimate, mean_of


def scores(rng: random.Random, seeds: int, problems: int, chance: float, spread: float = 0.0) -> Scores:
    """Right or wrong, with so much spread of the chance between seeds."""
    found = {}
    for seed in range(seeds):
        p = min(1.0, max(0.0, chance + rng.gauss(0, spread)))
        found[seed] = {str(i): float(rng.random() < p) for i in range(problems)}
    return found


def own(given: Scores) -> Scores:
    """The same scores, on problems that no other seed has."""
    return {seed: {f"{seed}/{name}": score for name, score in rows.items()} for seed, rows in given.items()}


def test_every_seed_counts_the_same() -> None:
    assert mean_of({0: {"a": 1.0}, 1: {"a": 0.0, "b": 0.0, "c": 0.0}}) == 0.5
    with pytest.raises(ValueError, match="no scores"):
        mean_of({0: {}})


def test_with_one_seed_the_interval_is_the_textbooks() -> None:
    found = estimate(scores(random.Random(0), 1, 400, 0.3))
    error = math.sqrt(found.mean * (1 - found.mean) / 400)
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.006)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.006)


@pytest.mark.parametrize("seeds", [2, 3, 12])
def test_seeds_with_problems_of_their_own_have_the_t_interval_of_their_means(seeds: int) -> None:
    given = own(scores(random.Random(1), seeds, 150, 0.5, spread=0.15))
    other = {seed: dict.fromkeys(rows, 0.0) for seed, rows in given.items()}
    found = difference(given, other)
    assert found is not None and found.relative is None, "the other is 0"
    means = [np.mean(list(rows.values())) for rows in given.values()]
    low, high = scipy.stats.t.interval(0.95, seeds - 1, np.mean(means), scipy.stats.sem(means))
    assert found.points.low == pytest.approx(max(low, -1)) and found.points.high == pytest.approx(min(high, 1))


def test_a_mean_reaches_further_from_the_nearer_end_and_stays_within() -> None:
    found = estimate(own(scores(random.Random(2), 5, 60, 0.93, spread=0.03)))
    assert found.mean - found.low > 1.2 * (found.high - found.mean) > 0 and found.high < 1.0


def test_seeds_that_share_their_problems_do_not_make_these_representative() -> None:
    """Scores that depend on the problem alone: more seeds tell nothing more."""
    rng = random.Random(4)
    hard = {str(i): rng.random() for i in range(200)}
    one = difference({0: hard}, {0: dict.fromkeys(hard, 0.0)})
    five = difference(dict.fromkeys(range(5), hard), dict.fromkeys(range(5), dict.fromkeys(hard, 0.0)))
    assert one is not None and five is not None and one.points.high == pytest.approx(five.points.high)
    error = float(np.std(list(hard.values()), ddof=1)) / math.sqrt(200)
    assert five.points.high - five.points.mean == pytest.approx(scipy.stats.t.ppf(0.975, 199) * error, rel=0.06)
    apart = estimate(own(dict.fromkeys(range(5), hard)))
    assert apart.high - apart.low < 0.6 * (five.points.high - five.points.low), "1,000 problems are more than 200"


def test_seeds_that_share_some_problems_lie_between() -> None:
    rng = random.Random(5)
    hard = [rng.random() for _ in range(500)]

    def width(step: int) -> float:
        given = {s: {str(i): hard[i] for i in range(s * step, s * step + 100)} for s in range(5)}
        found = estimate(given)
        return found.high - found.low

    assert width(0) > width(50) > 0
    assert estimate({0: {"a": 1.0, "b": 0.0}, 1: {"a": 1.0, "c": 0.0}, 2: {"d": 0.5}}).mean == 0.5


def test_what_agrees_by_chance_is_not_certain() -> None:
    """Twenty of twenty: the true share may well be .9 (20 right then have a chance of .12)."""
    found = estimate({0: {str(i): 1.0 for i in range(20)}})
    assert (found.mean, found.high) == (1.0, 1.0) and 0.75 < found.low < 0.9
    three = estimate(own({s: {str(i): float(i < 15) for i in range(20)} for s in range(3)}))
    assert three.high - three.low > 0.1, "three equal means say little of how far means lie apart"


def test_one_problem_has_no_interval() -> None:
    assert estimate({0: {"x": 0.5}}) == Estimate(0.5)
    found = difference({0: {"x": 1.0}, 1: {"x": 0.5}}, {0: {"x": 0.0}, 1: {"x": 0.5}})
    assert found is not None and found.points == Estimate(0.5) and found.points.clear is None and found.relative is None


def test_what_two_arms_have_in_common_cancels() -> None:
    hard = scores(random.Random(3), 5, 100, 0.5, spread=0.2)
    better = {seed: {p: 1.0 if p in "0123456789" else s for p, s in rows.items()} for seed, rows in hard.items()}
    found = difference(better, hard)
    assert found is not None and found.seeds == 5 and found.problems == 500
    assert found.points.low > 0 and found.points.clear
    alone = estimate(better)
    assert found.points.high - found.points.low < (alone.high - alone.low) / 2
    same = difference(hard, hard)
    assert same is not None and same.points.low < same.points.mean == 0 < same.points.high < 0.03
    assert not same.points.clear


def test_only_common_seeds_and_problems_are_compared() -> None:
    a = {0: {"x": 1.0, "only a": 0.0}, 1: {"x": 1.0}, 7: {"x": 0.0}}
    b = {0: {"x": 0.0}, 1: {"x": 0.5}, 8: {"x": 1.0}}
    found = difference(a, b)
    assert found is not None and (found.seeds, found.problems) == (2, 2)
    assert found.points.mean == 0.75
    assert found.relative is None, "the other is not clear of 0"
    assert difference({0: {"x": 1.0}}, {1: {"x": 1.0}}) is None


def test_relative_is_of_the_means() -> None:
    b = scores(random.Random(6), 1, 400, 0.6)
    a = {0: {name: min(1.0, score + (int(name) % 10 < 3)) for name, score in b[0].items()}}
    found = difference(a, b)
    assert found is not None and found.relative is not None
    ratio = mean_of(a) / mean_of(b) - 1
    assert found.relative.mean == pytest.approx(ratio)
    # Near enough to the delta method, where the denominator is sure.
    rest = np.array([(a[0][n] - (1 + ratio) * b[0][n]) / mean_of(b) for n in b[0]])
    half = 1.96 * float(np.std(rest)) / math.sqrt(400)
    assert found.relative.low == pytest.approx(ratio - half, abs=0.01)
    assert found.relative.high == pytest.approx(ratio + half, abs=0.012)
