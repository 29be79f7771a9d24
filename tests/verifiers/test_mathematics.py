"""Answers as a model writes them, against right ones; and that a comparison which hangs or fails gives no verdict."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmd_agent.errors import ProblemError, VerifierError
from pmd_agent.types import Problem
from pmd_agent.verifiers import Mathematics, build_verifier, verify_all
from pmd_agent.verifiers.mathematics import answer_in, to_be_worked_out

pytest.importorskip("math_verify", reason="pip install 'math-verify[antlr4_13_2]'")


@pytest.fixture(scope="module")
def verifier() -> Iterator[Mathematics]:
    made = Mathematics(seconds=20.0, processes=2)
    yield made
    made.close()


def problem(answer: str | None) -> Problem:
    return Problem("p", "?", answer)


EQUAL = [
    # numbers, as GSM8K has them
    ("42", "42"), ("42", "42.0"), ("42", "042"), ("1000", "1,000"), ("1000", "1 000"), ("1000", "1000 dollars"), ("18", "$18"), ("18", "\\$18"), ("18", "18."),
    ("18", "18\\text{ eggs}"), ("10", "10 \\text{ cm}"), ("18", "18.00"), ("-3", "-3"), ("0", "0"), ("7", "x = 7"),
    # fractions, decimals, percent
    ("0.5", "\\frac{1}{2}"), ("0.5", "1/2"), ("\\frac{1}{2}", "0.5"), ("\\frac12", "1/2"), ("-\\frac{3}{4}", "-0.75"),
    ("0.5", "50\\%"), ("10\\%", "10"), ("1\\frac{1}{2}", "1.5"), ("350", "3.5 \\times 10^{2}"), ("90^\\circ", "90"),
    ("36", "36\\text{ cm}^2"), ("36", "36\\,\\mathrm{cm}^2"), ("5", "5\\text{ m}^{3}"), ("\\frac{3}{4}", "\\frac{6}{8}"),
    # expressions
    ("\\sqrt{2}", "2^{1/2}"), ("2x+1", "1+2x"), ("x^2-1", "(x-1)(x+1)"), ("\\frac{\\pi}{2}", "\\pi/2"), ("6 - 5i", "6-5i"),
    ("\\dfrac{1}{x}", "\\frac{1}{x}"), ("\\left(x+1\\right)^2", "(x+1)^2"), ("11_2", "11_2"),
    # tuples, sets, intervals, matrices, words
    ("(1,2)", "(1, 2)"), ("\\{1,2\\}", "\\{2,1\\}"), ("1,2", "2, 1"), ("[0,1)", "[0, 1)"), ("x \\in [1,2]", "[1,2]"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"), ("\\text{Friday}", "Friday"),
    ("\\text{(A)}", "A"),
]  # fmt: skip
DIFFERENT = [
    ("42", "41"), ("5", "-5"), ("5", "five"), ("\\frac{1}{3}", "0.333"), ("(1,2)", "(2,1)"), ("[0,1)", "(0,1)"),
    ("A", "B"), ("\\text{Friday}", "Monday"), ("2x+1", "2y+1"), ("x^2", "x^3"), ("5", "garbage here"), ("5", "4, 5"),
    ("5", "5, 5, 6"), ("5", "{"), ("5", "\\frac{}{"), ("5", "\u4e94"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "answer"), EQUAL)
def test_equal_answers(verifier: Mathematics, right: str, answer: str) -> None:
    verdict = verifier.verify(problem(right), f"So it is $\\boxed{{{answer}}}$.")
    assert (verdict.reward, verdict.correct, verdict.feedback) == (1.0, True, ""), verdict


@pytest.mark.parametrize(("right", "answer"), DIFFERENT)
def test_different_answers(verifier: Mathematics, right: str, answer: str) -> None:
    verdict = verifier.verify(problem(right), f"<answer>{answer}</answer>")
    assert (verdict.reward, verdict.correct) == (0.0, False)
    assert answer in verdict.feedback and (right not in verdict.feedback or right in answer)


@pytest.mark.parametrize(
    "answer",
    ["2+3", "10-5", "15/3+0", "1\\cdot 5", "5\\times 1", "\\sqrt{25}", "25^{1/2}", "5!", "(2)(1)+3", "\\binom{5}{1}", "6 - 1", "\\frac{10}{2}+0"],
)  # fmt: skip
def test_a_calculation_is_no_answer(verifier: Mathematics, answer: str) -> None:
    verdict = verifier.verify(problem("5"), f"\\boxed{{{answer}}}")
    assert verdict.correct is False and "worked out" in verdict.feedback


@pytest.mark.parametrize(
    ("right", "answer"),
    [
        ("\\frac{3}{4}", "\\frac12+\\frac14"), ("-\\frac{3}{4}", "\\frac14-1"), ("3/4", "1/2 + 1/4"), ("90^\\circ", "45+45"),
        ("12\\text{ cm}", "5+7"), ("12\\,\\mathrm{cm}^2", "3\\cdot 4"),
    ],
)  # fmt: skip
def test_nor_is_it_where_the_number_is_a_fraction_or_has_a_unit(verifier: Mathematics, right: str, answer: str) -> None:
    verdict = verifier.verify(problem(right), f"\\boxed{{{answer}}}")
    assert verdict.correct is False and "worked out" in verdict.feedback


def test_what_has_to_be_worked_out() -> None:
    assert to_be_worked_out("4", "\\frac{8}{2}") and to_be_worked_out("4", "8/2")
    assert to_be_worked_out("120", "5!") and not to_be_worked_out("x+5", "2+3+x"), "of a number only"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{1}, no: \\boxed{2}", "2"),
        ("<think>\\boxed{1}</think> \\boxed{2}", "2"),
        ("<think>\\boxed{1}", ""),
        ("\\boxed{1} <answer>2</answer>", "2"),
        ("<answer>$\\boxed{2}$</answer>", "2"),
        ("<answer> 1 </answer><answer> 2 </answer>", "2"),
        ("<answer>", ""),
        ("The answer is 2.", ""),
        ("#### 2", ""),
        ("\\boxed{}", ""),
        ("\\boxed{2", ""),
        ("\\boxed{ \\frac{ 1 }{ 2 } }", "\\frac{ 1 }{ 2 }"),
        ("", ""),
    ],
)
def test_where_the_answer_stands(text: str, answer: str) -> None:
    assert answer_in(text) == answer


def test_feedback_says_what_is_missing_and_never_the_answer(verifier: Mathematics) -> None:
    told = [verifier.verify(problem("987654"), text).feedback for text in ("It is 987653.", "\\boxed{987653}", "\\boxed{}", "\\boxed{" + "1" * 500 + "}")]  # fmt: skip
    assert "No \\boxed{} answer" in told[0] and told[1] == 'Your answer "987653" is not correct.'
    assert "No \\boxed{} answer" in told[2] and "500 characters" in told[3]
    assert not any("987654" in text for text in told)


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^{9}}}+x",
        pytest.param("(9^{9^9})!+x", marks=pytest.mark.slow),
        pytest.param("\\sum_{i=1}^{10^{12}} \\frac{1}{i^i}", marks=pytest.mark.slow),
    ],
)
def test_a_comparison_that_hangs_gives_no_verdict_and_the_next_one_works(answer: str) -> None:
    made = Mathematics(seconds=1.0, processes=1)
    try:
        started = time.monotonic()
        verified = verify_all(made, [problem("x+5")], [[f"\\boxed{{{answer}}}", "\\boxed{5+x}"]])
        assert [v.correct for v in verified.verdicts_PG[0]] == [None, True]
        assert verified.unchecked == 1 and "took too long" in verified.first_reason
        assert time.monotonic() - started < 30
    finally:
        made.close()


def test_a_right_answer_that_cannot_be_read_gives_no_verdict(verifier: Mathematics) -> None:
    verified = verify_all(verifier, [problem("$")], [["\\boxed{5}"]])
    assert verified.unchecked == 1 and "cannot be read" in verified.first_reason
    with pytest.raises(ProblemError, match="p has no answer"):
        verifier.verify(problem(" "), "\\boxed{5}")


def test_answers_are_not_evaluated_as_python(verifier: Mathematics, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    for code in (
        f"__import__('os').system('touch {target}')",
        f"exec(\"open('{target}','w')\")",
        f"\\text{{open('{target}','w')}}",
    ):
        verify_all(verifier, [problem("5")], [[f"\\boxed{{{code}}}", f"<answer>{code}</answer>"]])
    assert not target.exists()


def test_many_at_once_keep_their_places(verifier: Mathematics) -> None:
    problems = [problem(str(i)) for i in range(8)]
    texts = [[f"\\boxed{{{i}.0}}", f"\\boxed{{{i + 1}}}", "none"] for i in range(8)]
    verified = verify_all(verifier, problems, texts)
    assert [[v.correct for v in g] for g in verified.verdicts_PG] == [[True, False, False]] * 8
    assert verifier._idle.qsize() <= 2, "no more processes than threads"


def test_nothing_is_left_when_the_process_ends(tmp_path: Path) -> None:
    code = (
        "from pmd_agent.types import Problem\nfrom pmd_agent.verifiers import Mathematics\nv = Mathematics()\n"
        "v.verify(Problem('p', '?', 'x'), '\\\\boxed{y}')\nprint(v._idle.queue[0]._process.pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner, owner.stdout:
        worker = int(owner.stdout.readline())
        owner.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists() or os.name != "posix"


def test_threads_end(verifier: Mathematics) -> None:
    before = threading.active_count()
    verify_all(verifier, [problem("5")], [["\\boxed{5}"] * 4])
    assert threading.active_count() <= before


def test_a_recipe_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = build_verifier("math")
    assert isinstance(made, Mathematics)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(VerifierError, match="needs the package math-verify") as caught:
        build_verifier("math")
    assert "pip install" in caught.value.hint
