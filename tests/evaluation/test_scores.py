"""avg@k, pass@k and maj@k."""

from __future__ import annotations

from itertools import combinations

import pytest

from pmd_agent.evaluation.scores import Outcome, accuracy, pass_at_k, score
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.code import CodeVerifier

UNCHECKED = Verdict(None, None, "the checker broke", "A")


def right(answer: str | None = "A") -> Verdict:
    return Verdict(1.0, True, "", answer)


def wrong(answer: str | None = "B") -> Verdict:
    return Verdict(0.0, False, "", answer)


def outcome(*verdicts: Verdict, kind: str = "") -> Outcome:
    (found,) = score([Problem("p", "?", "A", kind=kind)], [verdicts])
    return found


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_draws_with_a_success(n: int) -> None:
    for correct in range(n + 1):
        rollouts = [i < correct for i in range(n)]
        for k in range(1, n + 1):
            draws = list(combinations(rollouts, k))
            assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_pass_at_k_of_fewer_rollouts_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match="of 3 rollouts"):
        pass_at_k(3, 1, k)


def test_an_outcome_counts() -> None:
    assert outcome(right(), wrong(), wrong("C"), right(), UNCHECKED, kind="k") == Outcome("p", "k", 4, 2, True, 1)


@pytest.mark.parametrize(
    ("verdicts", "majority"),
    [
        ((right("A"), wrong("B"), wrong("B")), False),
        ((wrong("B"), right("A"), right("A")), True),
        ((right("A"), wrong("B")), True),
        ((wrong("B"), right("A")), False),
        ((wrong("B"), wrong("C"), right("A"), right("A")), True),
        ((wrong(None), wrong(None), right("A")), True),
        ((wrong("B"), right("A"), UNCHECKED, UNCHECKED), False),
        ((wrong(None), wrong(None)), None),
        ((right(None), wrong(None)), None),
        ((right(None), wrong("B")), None),
        ((), None),
    ],
)
def test_the_majority_of_given_answers_the_first_of_a_tie(verdicts: tuple[Verdict, ...], majority: bool | None) -> None:
    assert outcome(*verdicts).majority is majority


def test_an_answer_that_could_not_be_read_loses_the_vote_where_others_could() -> None:
    problems = [Problem("p", "?"), Problem("q", "?")]
    found = score(problems, [[wrong(None), wrong(None)], [right("A")]])
    assert [o.majority for o in found] == [False, True] and accuracy(found)["maj"] == 0.5


def test_rewards_alone_and_programs_have_no_majority() -> None:
    """Two right programs that are spelt differently would lose against two wrong ones that are alike."""
    rewards = score([Problem("p", "?"), Problem("q", "?")], [[right(None), right(None)], [wrong(None), wrong(None)]])
    programs = score([Problem("p", "?")], [[right("a+b"), right("b+a"), wrong("0"), wrong("0")]], votes=False)
    for found, average in ((rewards, 0.5), (programs, 0.5)):
        assert {o.majority for o in found} == {None}
        assert accuracy(found)["maj"] is None and accuracy(found)["avg"] == average
    assert CodeVerifier.votes is False


def test_partial_credit_below_the_threshold_is_not_correct() -> None:
    assert outcome(Verdict(0.4, False, "", "A"), Verdict(0.6, True, "", "A")).correct == 1


def test_what_was_not_checked_enters_no_average() -> None:
    outcomes = [outcome(right(), UNCHECKED, UNCHECKED), outcome(right(), wrong("B"), wrong("B")), outcome(UNCHECKED)]
    assert accuracy(outcomes) == {
        "avg": round((1 + 1 / 3) / 2, 4),
        "pass": 1.0,
        "maj": 0.5,
        "k": 3,
        "problems": 2,
        "unchecked": 3,
        "unchecked_share": round(3 / 7, 4),
        "avg_as_wrong": round((1 / 3 + 1 / 3 + 0) / 3, 4),
    }


def test_a_problem_counts_as_much_as_another_whatever_its_rollouts() -> None:
    assert accuracy([outcome(right()), outcome(*[wrong()] * 9)])["avg"] == 0.5


def test_nothing_checked_is_no_accuracy() -> None:
    assert accuracy([outcome(UNCHECKED)]) == {
        "avg": None,
        "pass": None,
        "maj": None,
        "k": 0,
        "problems": 0,
        "unchecked": 1,
        "unchecked_share": 1.0,
        "avg_as_wrong": 0.0,
    }
    assert accuracy([]) | {"avg": None, "unchecked_share": 0.0, "avg_as_wrong": None} == accuracy([])


def test_evading_the_check_is_never_better_than_being_wrong_in_what_is_sure() -> None:
    honest = accuracy([outcome(right()), *[outcome(wrong("B"))] * 3])
    evading = accuracy([outcome(right()), *[outcome(UNCHECKED)] * 3])
    assert honest["avg"] == 0.25 and evading["avg"] == 1.0 and evading["unchecked_share"] == 0.75
    assert evading["avg_as_wrong"] == honest["avg_as_wrong"] == honest["avg"]
    kinds = accuracy([outcome(right(), kind="a"), outcome(right(), UNCHECKED, kind="b")])["by_kind"]
    assert kinds["a"]["unchecked_share"] == 0.0 and kinds["b"]["unchecked_share"] == 0.5


def test_kinds_are_also_reported_apart() -> None:
    outcomes = [
        outcome(right(), kind="2op"),
        outcome(wrong(), kind="1op"),
        outcome(wrong(), kind="2op"),
        outcome(right()),
    ]
    found = accuracy(outcomes)
    assert found["avg"] == 0.5
    assert list(found["by_kind"]) == ["1op", "2op"]
    assert (found["by_kind"]["1op"]["avg"], found["by_kind"]["2op"]["avg"]) == (0.0, 0.5)
    assert found["by_kind"]["2op"]["problems"] == 2


def test_one_kind_is_not_reported_twice() -> None:
    assert "by_kind" not in accuracy([outcome(right(), kind="a"), outcome(wrong(), kind="a")])


def test_a_record_is_the_outcome_in_plain_words() -> None:
    assert outcome(right(), UNCHECKED, kind="k").record() == {
        "problem": "p",
        "kind": "k",
        "checked": 1,
        "correct": 1,
        "majority": True,
        "unchecked": 1,
        "answers": [],
    }


def test_problems_and_verdicts_must_match() -> None:
    with pytest.raises(ValueError):
        score([Problem("p", "?")], [])


def test_the_first_texts_are_kept_and_long_ones_are_cut() -> None:
    verdicts = [[Verdict(1.0, True, answer="4"), *[Verdict(0.0, False, answer="5")] * 5]]
    (row,) = score([Problem("p", "2 + 2?")], verdicts, [["four " * 5_000, *["five"] * 5]])
    kept = row.record()["answers"]
    assert [a["correct"] for a in kept] == [True, False, False, False] and kept[1]["text"] == "five"
    assert len(kept[0]["text"]) < 4_100 and kept[0]["answer"] == "4"
