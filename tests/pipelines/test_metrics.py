"""What a reflection is worth: by its form, by the words of the attempts, and by what reading it does."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import dspy
import pytest

from pmd_agent.pipelines.metrics import parse, parse_within, support, teacher_gain_by
from pmd_agent.types import Attempt, ProblemView

MAX = "Use zog max: 37 zog 14 = 37. Use vit mul: 37 vit 2 = 74."
ADD = "Use zog add: 37 zog 14 = 51. Use vit mul: 51 vit 2 = 2."


def example(*attempts: tuple[str, bool], answers: Sequence[str] = ()) -> dspy.Example:
    views = [Attempt(f"0/p/{n}", text, right, float(right)) for n, (text, right) in enumerate(attempts)]
    return dspy.Example(
        problem=ProblemView("p", "37 zog 14 vit 2?"), experiences=views, answers=list(answers)
    ).with_inputs("problem", "experiences")


def said(strategies: Any = (), lessons: Any = ()) -> dspy.Prediction:
    return dspy.Prediction(strategies=strategies, lessons=lessons)


MIXED = example((MAX, True), (ADD, False), answers=["74"])
FAILED = example((ADD, False), ("Use zog min: 37 zog 14 = 14.", False))


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (said(["Use zog max."], ["Never zog add."]), 1.0),
        (said(["Add.", "Add.", "", "Bet."], ["Cut."]), 3 / 5),
        (said(["x" * 31], ["Add."]), 1 / 2),
        (said([f"Use rule {n}." for n in range(10)]), 8 / 10),
        (said("Use zog max.", ["Add."]), 1.0),
        (said(7, ["Add."]), 1 / 2),
        (said(), 0.0),
        (dspy.Prediction(other=1), 0.0),
        (None, 0.0),
        ({"lessons": ["Add."]}, 1.0),
    ],
)
def test_parse(prediction: Any, expected: float) -> None:
    assert parse_within(8, 30)(MIXED, prediction) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "prediction", "expected"),
    [
        (MIXED, said(["Use zog max."], ["Never zog add."]), 1.0),
        (MIXED, said(["Use zog add."], ["Never zog max."]), 0.0),
        (MIXED, said(["Use zog max.", "Use zog add."]), 0.5),
        (MIXED, said(["Use vit mul."]), 0.0),
        (MIXED, said(["Think about whales."], ["Do not hurry."]), 0.0),
        (FAILED, said(["Use zog min."]), 0.0),
        (FAILED, said([], ["Never zog min.", "Never zog sub with vit nor."]), 0.5),
        (MIXED, said(["Use zog max: it is 74."]), 0.0),
        (MIXED, said(["Use zog max: 740 is wrong."]), 1.0),
        (MIXED, said(), 0.0),
        (MIXED, None, 0.0),
        (MIXED, said(["!?"]), 0.0),
    ],
)  # fmt: skip
def test_support(given: dspy.Example, prediction: Any, expected: float) -> None:
    assert support(given, prediction) == pytest.approx(expected)


def test_the_reasons_name_the_sentences() -> None:
    told = support(MIXED, said(["Use zog add.", "Answer with 74."]), None, "contrast", [])
    assert told.score == 0.0
    assert (
        "'Use zog add.' is not borne out" in told.feedback
        and "'Answer with 74.' states the final answer" in told.feedback
    )
    assert "at most 8 distinct sentences" in parse(MIXED, said(["Add.", "Add."]), None, "contrast", []).feedback


@pytest.mark.parametrize("metric", [parse, support, teacher_gain_by(lambda *_: [0.5, -0.5])])
def test_all_forms_in_which_dspy_calls_metrics(metric: Any) -> None:
    prediction = said(["Use zog max."], ["Never zog add."])
    plain = metric(MIXED, prediction)
    assert isinstance(plain, float) and plain == metric(MIXED, prediction, []) and 0.5 < plain <= 1
    told = metric(MIXED, prediction, [], "contrast", [])
    assert told.score == plain and told.feedback
    inspect.signature(metric).bind(None, None, None, None, None)  # GEPA looks
    evaluated = dspy.Evaluate(devset=[MIXED], metric=metric, display_progress=False)(lambda **_: prediction)
    assert evaluated.score == pytest.approx(100 * plain, abs=0.01)


def test_teacher_gain_is_what_correct_attempts_win_over_wrong_ones() -> None:
    read: list[Any] = []

    def shifts(problem: Any, strategies: Any, lessons: Any, attempts: Any) -> list[float]:
        read.append((problem.id, strategies, lessons, len(attempts)))
        return [0.7, 0.2][: len(attempts)]

    metric = teacher_gain_by(shifts)
    assert metric(MIXED, said(["Use zog max.", "Answer with 74."], ["Never zog add."])) == pytest.approx(
        1 / (1 + math.exp(-0.5))
    )
    assert read == [("p", ["Use zog max."], ["Never zog add."], 2)], "what tells the answer is not read"
    assert (
        metric(MIXED, said(["Answer with 74."])) == 0.5 and metric(MIXED, said()) == 0.5 and metric(MIXED, None) == 0.0
    )
    assert metric(FAILED, said([], ["Never zog add."])) == pytest.approx(1 / (1 + math.exp(0.45))), "wrong ones rose"
    assert len(read) == 2
