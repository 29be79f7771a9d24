from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_agent.errors import ProblemError
from pmd_agent.problems import first_of_each_kind, hold_out
from pmd_agent.types import Problem


def problems(*sizes: int) -> list[Problem]:
    return [
        Problem(id=f"{kind}/{i}", prompt="?", kind=str(kind)) for kind, size in enumerate(sizes) for i in range(size)
    ]


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(2, 40), min_size=1, max_size=4), fraction=st.floats(0.01, 0.9), seed=st.integers(0, 99)
)
def test_every_problem_is_in_one_part_and_every_kind_gives_its_share(
    sizes: list[int], fraction: float, seed: int
) -> None:
    given_problems = problems(*sizes)
    kept, held = hold_out(given_problems, fraction, seed)
    assert sorted(p.id for p in kept + held) == sorted(p.id for p in given_problems)
    for kind, size in enumerate(sizes):
        share = min(math.ceil(round(size * fraction, 9)), size - 1)
        assert sum(p.kind == str(kind) for p in held) == share
    assert [p for p in given_problems if p in held] == list(held), "the order stays"


def test_the_same_seed_holds_out_the_same_and_another_seed_others() -> None:
    given_problems = problems(100)
    assert hold_out(given_problems, 0.1, 1) == hold_out(given_problems, 0.1, 1)
    assert hold_out(given_problems, 0.1, 1) != hold_out(given_problems, 0.1, 2)


def test_it_holds_out_what_datasets_does() -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list([{"id": p.id} for p in problems(97)])
    for seed in (0, 42):
        theirs = whole.train_test_split(test_size=0.1, seed=seed)["test"]["id"]
        assert {p.id for p in hold_out(problems(97), 0.1, seed)[1]} == set(theirs)


def test_a_fraction_that_is_a_whole_number_of_problems_is_not_rounded_up() -> None:
    assert 0.07 * 100 > 7
    assert len(hold_out(problems(100), 0.07)[1]) == 7


def test_nothing_held_out() -> None:
    kept, held = hold_out(problems(3), 0.0)
    assert (len(kept), held) == (3, ())


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0, float("nan")])
def test_a_fraction_out_of_bounds(fraction: float) -> None:
    with pytest.raises(ProblemError, match="cannot be held out"):
        hold_out(problems(3), fraction)


def test_too_few_to_hold_out() -> None:
    with pytest.raises(ProblemError, match="3 problems of 3 kinds are too few"):
        hold_out(problems(1, 1, 1), 0.1)


def test_the_first_of_each_kind() -> None:
    given_problems = tuple(problems(3, 1, 2))
    assert first_of_each_kind(given_problems, None) == given_problems
    assert [p.id for p in first_of_each_kind(given_problems, 2)] == ["0/0", "0/1", "1/0", "2/0", "2/1"]
