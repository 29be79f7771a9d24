"""The layout of attempts and insights."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pmd_agent.pipelines.prompts import choose_attempts, render_attempts, render_insights, where_they_part
from pmd_agent.types import Experience


def group(make: SimpleNamespace, correct: int, failed: int) -> list[Experience]:
    """Failed ones first, as they may come."""
    return [make.attempt(f"0/p/f{i}") for i in range(failed)] + [
        make.attempt(f"0/p/c{i}", correct=True) for i in range(correct)
    ]


def names(experiences: list[Experience]) -> list[str]:
    return [e.id.split("/")[-1] for e in experiences]


@pytest.mark.parametrize(
    ("correct", "failed", "limit", "expected"),
    [
        (4, 4, 4, ["c0", "c1", "f3", "f2"]),
        (4, 4, 3, ["c0", "f3", "f2"]),
        (1, 7, 4, ["c0", "f6", "f5", "f4"]),
        (7, 1, 4, ["c0", "c1", "c2", "f0"]),
        (8, 0, 4, ["c0", "c1", "c2", "c3"]),
        (0, 8, 2, ["f7", "f6"]),
        (1, 1, 8, ["c0", "f0"]),
        (0, 0, 4, []),
    ],
)
def test_the_best_and_the_worst_correct_first(
    make: SimpleNamespace, correct: int, failed: int, limit: int, expected: list[str]
) -> None:
    chosen = names(choose_attempts(group(make, correct, failed), limit))
    assert len(chosen) == min(limit, correct + failed)
    assert [n[0] for n in chosen] == [n[0] for n in expected]
    assert set(chosen) <= set(names(group(make, correct, failed)))


def test_rewards_decide_within_a_side(make: SimpleNamespace) -> None:
    rewards = {"0/p/a": 0.4, "0/p/b": 0.0, "0/p/c": 1.0, "0/p/d": 0.6, "0/p/e": 0.2}
    experiences = [make.attempt(id, reward=r, correct=r >= 0.5) for id, r in rewards.items()]
    assert names(choose_attempts(experiences, 4)) == ["c", "d", "b", "e"], "best correct, worst failed, worst first"


def test_a_text_is_shown_once(make: SimpleNamespace) -> None:
    same = [make.attempt(f"0/p/{i}", text=f"Use zog{' ' * i}max.") for i in (1, 2, 3)]
    assert len(choose_attempts([*same, make.attempt("0/p/9", text="Use zog add.")], 4)) == 2


def test_of_a_mixed_group_one_attempt_alone_is_a_correct_one(make: SimpleNamespace) -> None:
    """Otherwise the policy would be told that every attempt failed."""
    assert names(choose_attempts(group(make, 3, 3), 1)) == ["c0"]


def test_attempts_are_numbered_with_verdict_and_feedback(make: SimpleNamespace) -> None:
    shown = [make.attempt("0/p/0", correct=True, text="a"), make.attempt("0/p/1", text="b", feedback="No tag.")]
    assert render_attempts(shown, 100) == "[1] correct\na\n[2] failed\nb\nfeedback: No tag."
    assert render_attempts([], 100) == ""


def test_the_answer_is_never_told(make: SimpleNamespace) -> None:
    assert "42" not in render_attempts([make.attempt("0/p/0", text="t", answer="42")], 100)


def test_a_long_attempt_keeps_head_and_tail(make: SimpleNamespace) -> None:
    shown = render_attempts([make.attempt("0/p/0", text="H" * 5000 + "T" * 5000)], 300).split("\n")[1]
    assert shown.startswith("H" * 200) and shown.endswith("T" * 100)
    assert len(shown) <= 300 + len(" […] ")
    assert "x" * 300 in render_attempts([make.attempt("0/p/0", text="x" * 300)], 300)


def test_insights_with_the_problems_that_hold_them(make: SimpleNamespace) -> None:
    insights = [
        make.insight("p", "Use zog max."),
        make.insight("p", "Use  zog\nmax.", 1),
        make.insight("q", "Use zog max."),
        make.insight("r", "Never zog add."),
    ]
    text, shown = render_insights(insights, 10)
    assert text == "- Never zog add. (1)\n- Use zog max. (2)", "one problem counts once"
    assert shown == insights


def test_the_best_supported_insights_are_kept(make: SimpleNamespace) -> None:
    insights = [make.insight(f"p{i}", text) for text, n in (("a", 1), ("z", 3), ("m", 2)) for i in range(n)]
    text, shown = render_insights(insights, 2)
    assert text == "- m (2)\n- z (3)"
    assert {i.text for i in shown} == {"m", "z"}
    assert render_insights([], 3) == ("", [])


def episode(*turns: str) -> str:
    return "\n".join(f"Turn {n}\n{turn}" for n, turn in enumerate(turns, 1))


def test_episodes_are_read_where_they_part() -> None:
    best = episode("open\n> ok", "log 30\n> ok", "close\n> ok", "done")
    same_start = episode("open\n> ok", "log 30\n> ok", "assign\n> error 41", "done")
    other = episode("close\n> error 41", "done")
    shorter = episode("open\n> ok", "log 30\n> ok")
    found = where_they_part([best, same_start, other, shorter, "Turn around.", ""])
    assert found[0] == best and found[2] == other and found[4:] == ["Turn around.", ""]
    assert found[1] == "(Turns 1 to 2: as in attempt 1)\nTurn 3\nassign\n> error 41\nTurn 4\ndone"
    assert found[3] == "(Turn 1: as in attempt 1)\nTurn 2\nlog 30\n> ok"


def test_the_part_that_differs_is_not_cut_for_the_one_that_does_not() -> None:
    long = "x" * 3000
    attempts = [
        Experience("0/p/0", "p", episode(long, "right"), 1.0, True, "", None, 0, 0),
        Experience("0/p/1", "p", episode(long, "wrong " + "y" * 300), 0.0, False, "", None, 0, 0),
    ]
    shown = render_attempts(attempts, 400)
    assert "[2] failed\n(Turn 1: as in attempt 1)\nTurn 2\nwrong " + "y" * 300 in shown
