from __future__ import annotations

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers import Exact

PROBLEM = Problem(id="p", prompt="?", answer="4 2")


@pytest.mark.parametrize("content", ["4 2", " 4 2 ", "4\n2", "4 \t\n 2"])
def test_whitespace_does_not_count(content: str) -> None:
    verdict = Exact().verify(PROBLEM, f"zog <answer>{content}</answer>")
    assert verdict == Verdict(1.0, True, "", "4 2")


@pytest.mark.parametrize(
    ("text", "answer", "feedback"),
    [
        ("<answer>42</answer>", "42", 'Your answer "42" is not correct.'),
        ("<answer>4  3</answer>", "4 3", 'Your answer "4 3" is not correct.'),
        ("<answer>" + "9" * 100 + "</answer>", "9" * 100, f'Your answer "{"9" * 80}..." is not correct.'),
        ("<answer> </answer>", None, "The <answer> tag is empty; end with <answer>...</answer>."),
        ("<answer>4 2", None, "The <answer> tag is not closed; end with <answer>...</answer>."),
        ("4 2", None, "No <answer> tag was found; end with <answer>...</answer>."),
    ],
)
def test_a_wrong_answer_is_told_only_if_asked_for(text: str, answer: str | None, feedback: str) -> None:
    assert Exact().verify(PROBLEM, text) == Verdict(0.0, False, "", answer)
    assert Exact(feedback=True).verify(PROBLEM, text) == Verdict(0.0, False, feedback, answer)


def test_case_counts() -> None:
    assert Exact().verify(Problem("p", "?", "NaCl"), "<answer>NACL</answer>").correct is False


@pytest.mark.parametrize("answer", [None, "", "  "])
def test_a_problem_without_an_answer_cannot_be_checked(answer: str | None) -> None:
    with pytest.raises(ProblemError, match="p has no answer"):
        Exact().verify(Problem("p", "?", answer), "<answer>1</answer>")
