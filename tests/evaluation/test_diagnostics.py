"""Repetition, markers, internalisation, and when an alarm is raised."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_agent.console import Console
from pmd_agent.distillation.teacher_page import render
from pmd_agent.evaluation.diagnostics import alarms, internalisation, repetition, speaks_of_memory, spent, writing
from pmd_agent.loop import watch
from pmd_agent.stages import Metrics

# ---- texts


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("one two three", 0.0),
        ("one two three four five six", 0.0),
        ("a b c d a b c d", 0.2),  # abcd bcda cdab dabc abcd: one of five
        ("no no no no no no no", 0.75),  # one of four is new
    ],
)
def test_repetition_by_hand(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)


@given(st.text())
def test_repetition_is_a_share(text: str) -> None:
    assert 0 <= repetition(text) <= repetition(f"{text} " * 2) + 1e-9 < 1


@pytest.mark.parametrize(
    "text",
    [
        "NOTES from practice say so.",
        "Rules that held across problems: none.",
        "what worked on\nthis problem was adding",
        "What failed on this problem:",
        "A correct solution of this problem:",
        "Take 4, as the memory says.",
    ],
)
def test_an_answer_that_speaks_of_memory(text: str) -> None:
    assert speaks_of_memory(text)


def test_an_answer_that_speaks_of_the_problem() -> None:
    assert not speaks_of_memory("<reasoning> zog max : 37 zog 14 = 37 </reasoning> <answer> 37 </answer>")
    assert not speaks_of_memory("RAM is memory; write notes. This problem is solved.")


def test_every_heading_of_the_teacher_s_prompt_is_a_marker() -> None:
    arguments: dict[str, Any] = {"behaviors": [], "strategies": [], "lessons": []}
    for name, value in (
        ("behaviors", ["x"]),
        ("strategies", ["x"]),
        ("lessons", ["x"]),
        ("demonstration", "x"),
        ("feedback", "x"),
    ):
        prompt = render("P", **(arguments | {name: value}))
        assert all(speaks_of_memory(part) for part in prompt.split("\n\n")[:2]), name


def test_means_over_answers() -> None:
    assert writing(["a b c d a b c d", "Notes from practice"]) == pytest.approx({"repetition": 0.1, "markers": 0.5})
    assert writing([]) == {"repetition": 0.0, "markers": 0.0}


# ---- accuracies and gains


@pytest.mark.parametrize(
    ("base", "free", "with_memory", "expected"),
    [
        (0.2, 0.5, 0.8, 0.5),
        (0.2, 0.8, 0.8, 1.0),
        (0.2, 0.1, 0.7, -0.2),
        (0.2, 0.5, 0.2, None),
        (0.2, 0.5, 0.1, None),
        (0.2, 0.5, None, None),
        (None, 0.5, 0.8, None),
    ],
)
def test_internalisation(base: float, free: float, with_memory: float, expected: float | None) -> None:
    assert internalisation(base, free, with_memory) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("gains", "patience", "expected"),
    [
        ([], 1, False),
        ([-0.1], None, False),
        ([0.0], 1, True),
        ([0.1, -0.1], 2, False),
        ([-0.1, None, 0.0, None], 2, True),  # steps without a gain are passed over
        ([-0.1, 0.2, -0.1], 2, False),
    ],
)
def test_the_stop_rule(gains: list[float | None], patience: int | None, expected: bool) -> None:
    assert spent(gains, patience) is expected


# ---- alarms


def said(key: str, *values: float | None) -> list[list[str]]:
    rows = [{} if value is None else {key: value} for value in values]
    return [alarms(rows[:i], row) for i, row in enumerate(rows)]


def test_length_that_doubles_is_said_once() -> None:
    assert said("response_tokens", 30, 59, 60, 70, 40, 90) == [
        [], [], ["answers have grown to 60 tokens, from 30 at the start"], [], [], ["answers have grown to 90 tokens, from 30 at the start"],
    ]  # fmt: skip


def test_a_collapse_of_validation_is_said_once_between_measurements() -> None:
    found = said("validation", 0.5, None, 0.8, None, 0.3, None, 0.2, 0.5, 0.1)
    assert [len(sentences) for sentences in found] == [0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert found[4] == ["validation accuracy has fallen to 0.300, from 0.800 at its best"]


@pytest.mark.parametrize(
    ("key", "below", "above"), [("truncated", 0.5, 0.6), ("repetition", 0.5, 0.6), ("markers", 0.02, 0.03)]
)
def test_bounds_of_shares(key: str, below: float, above: float) -> None:
    assert [len(found) for found in said(key, below, above, above, below, above)] == [0, 1, 0, 0, 1]
    assert len(said(key, above)[0]) == 1


def test_quiet_where_nothing_is_known() -> None:
    assert alarms([], {}) == [] == alarms([{"validation": None}], {"validation": 0.0, "response_tokens": 3.0})


def test_a_collapse_within_one_step_is_told_also_where_the_start_was_as_short() -> None:
    found = said("response_tokens", 100, 180, 190, 95, 90, 99)
    assert [len(sentences) for sentences in found] == [0, 0, 0, 1, 0, 0]
    assert "shrunk to 95 tokens, from 100 at the start and 190 in the step before" in found[3][0]


def test_a_run_warns_once_and_remembers() -> None:
    errors, parts = io.StringIO(), SimpleNamespace(history=[])
    console = Console(io.StringIO(), errors)
    for step, values in enumerate(
        ({"response_tokens": 10.0}, {"response_tokens": 30.0}, {"distillation_ended": 1.0}, {"distillation_ended": 1.0})
    ):
        watch(parts, Metrics(step, values), console)  # type: ignore[arg-type]
    assert errors.getvalue().splitlines() == [
        "warning: step 2: answers have grown to 30 tokens, from 10 at the start",
        "warning: step 3: the teacher gains nothing any more, so distillation has ended",
    ]
    assert [row["step"] for row in parts.history] == [0, 1, 2, 3]


def test_answers_that_shrink_and_a_start_that_is_all_wrong_or_all_right_are_told() -> None:
    first = {"response_tokens": 240.0, "correct": 0.4}
    assert alarms([], first) == []
    (said,) = alarms([first], {"response_tokens": 25.0, "correct": 0.4})
    assert "shrunk to 25 tokens, from 240 at the start and 240 in the step before" in said
    assert "distill.lr" in said and "distill.warmup" in said
    assert "not one attempt was right" in alarms([], {"correct": 0.0})[0]
    assert "every attempt was right" in alarms([], {"correct": 1.0})[0]
    assert alarms([{"correct": 0.5}], {"correct": 0.0}) == []
