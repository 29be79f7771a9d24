"""Answers in parts."""

from __future__ import annotations

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.recipe.problems import FileProblems, HouseRulesProblems
from pmd_agent.types import Problem
from pmd_agent.verifiers import Parts, verifier_of
from pmd_agent.verifiers.parts import Feedback

DATE = {
    "name": "date",
    "answer": "2021-03-05",
    "checks": [[r"^\d{4}", "must begin with the year"], ["-", "lacks a sign"]],
}
PRICE = {"name": "price", "answer": "USD 7.25"}
TWO = Problem("p", "?", data={"parts": [DATE, PRICE]})


@pytest.mark.parametrize("text", ["2021-03-05; USD 7.25", "2021-03-05;USD  7.25", " 2021-03-05 ;\nUSD 7.25 "])
def test_white_space_does_not_count(text: str) -> None:
    verdict = Parts().verify(TWO, f"<answer>{text}</answer>")
    assert (
        verdict.correct and verdict.reward == 1.0 and verdict.answer == "2021-03-05; USD 7.25" and not verdict.feedback
    )


@pytest.mark.parametrize(
    ("feedback", "text", "says"),
    [
        ("message", "05.03.2021; USD 7.25", "The date must begin with the year. The price is right."),
        ("message", "2021/03/05; 7.25", "The date lacks a sign. The price is not right."),
        ("message", "2021-03-06; USD 7.25", "The date is not right. The price is right."),
        ("part", "05.03.2021; USD 7.25", "The date is not right. The price is right."),
        ("part", "2021-03-05", "The answer has 1 part instead of 2; a semicolon divides them."),
        ("part", "a;b;c", "The answer has 3 parts instead of 2; a semicolon divides them."),
        ("none", "05.03.2021; USD 7.25", ""),
        ("none", "2021-03-05", ""),
    ],
)
def test_what_a_wrong_answer_is_told(feedback: Feedback, text: str, says: str) -> None:
    verdict = Parts(feedback).verify(TWO, f"<answer>{text}</answer>")
    assert (verdict.correct, verdict.reward, verdict.feedback) == (False, 0.0, says)


@pytest.mark.parametrize(("feedback", "told"), [("message", True), ("part", True), ("none", False)])
@pytest.mark.parametrize("text", ["2021-03-05; USD 7.25", "<answer></answer>", "<answer>2021-03-05; USD 7.25"])
def test_what_has_no_answer_is_wrong(feedback: Feedback, told: bool, text: str) -> None:
    verdict = Parts(feedback).verify(TWO, text)
    assert verdict.correct is False and verdict.answer is None and bool(verdict.feedback) is told


@pytest.mark.parametrize(
    "parts", [None, [], "date", [{"name": "date"}], [{"name": "d", "answer": "a;b"}], [{"name": "d", "answer": " "}]]
)
def test_a_problem_without_usable_parts_cannot_be_checked(parts: object) -> None:
    with pytest.raises(ProblemError, match=r"part"):
        Parts().verify(Problem("p", "?", data={"parts": parts}), "<answer>a</answer>")


def test_the_recipe_says_how_much_is_told() -> None:
    assert verifier_of(HouseRulesProblems(feedback="none"), 0.5) == Parts("none")
    assert verifier_of(FileProblems.model_validate({"path": "x.jsonl", "verifier": "parts"}), 0.5) == Parts("message")
