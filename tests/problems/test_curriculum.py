"""Which problems a step practises on."""

from __future__ import annotations

import pytest

from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.types import Problem


def problems(n: int) -> list[Problem]:
    return [Problem(str(i), f"problem {i}") for i in range(n)]


def ids(batch: list[Problem]) -> list[str]:
    return [p.id for p in batch]


@pytest.mark.parametrize(("n", "size"), [(12, 4), (12, 1), (12, 12)])
def test_an_epoch_takes_every_problem_once(n: int, size: int) -> None:
    curriculum = Curriculum(problems(n), size, seed=0)
    assert curriculum.steps_per_epoch == n // size
    for epoch in range(3):
        steps = range(epoch * curriculum.steps_per_epoch, (epoch + 1) * curriculum.steps_per_epoch)
        taken = [id for step in steps for id in ids(curriculum.batch(step))]
        assert sorted(taken) == sorted(ids(problems(n)))


def test_what_is_left_over_comes_up_in_another_epoch() -> None:
    curriculum = Curriculum(problems(10), 4, seed=0)
    assert curriculum.steps_per_epoch == 2
    epochs = [set(ids(curriculum.batch(2 * e)) + ids(curriculum.batch(2 * e + 1))) for e in range(8)]
    assert all(len(epoch) == 8 for epoch in epochs)
    assert set().union(*epochs) == set(ids(problems(10)))


def test_without_shuffle_problems_come_in_their_order_round_and_round() -> None:
    curriculum = Curriculum(problems(10), 4, seed=3, shuffle=False)
    assert [ids(curriculum.batch(step)) for step in (0, 1, 2, 5)] == [
        ["0", "1", "2", "3"],
        ["4", "5", "6", "7"],
        ["8", "9", "0", "1"],
        ["0", "1", "2", "3"],
    ]


def test_a_batch_has_distinct_problems_and_its_full_size() -> None:
    curriculum = Curriculum(problems(10), 3, seed=1)
    for step in range(30):
        assert len(set(ids(curriculum.batch(step)))) == 3


def test_any_step_can_be_recomputed() -> None:
    """A resumed run asks for step 17 without having asked for those before."""
    whole = Curriculum(problems(20), 4, seed=3)
    batches = [ids(whole.batch(step)) for step in range(20)]
    assert ids(Curriculum(problems(20), 4, seed=3).batch(17)) == batches[17]
    assert ids(whole.batch(2)) == batches[2]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    curriculum = Curriculum(problems(20), 20, seed=0)
    assert ids(curriculum.batch(0)) != ids(curriculum.batch(1))
    assert ids(curriculum.batch(0)) != ids(Curriculum(problems(20), 20, seed=1).batch(0))


def test_a_batch_larger_than_all_is_all() -> None:
    curriculum = Curriculum(problems(5), 32, seed=0)
    assert curriculum.steps_per_epoch == 1
    assert sorted(ids(curriculum.batch(7))) == sorted(ids(problems(5)))
