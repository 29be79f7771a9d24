r"""Names, products that have an order, other notations of the same: each with right and wrong answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pmd_agent.types import Problem
from pmd_agent.verifiers import Mathematics
from pmd_agent.verifiers.names import kept_apart, result_of

pytest.importorskip("math_verify", reason="pip install 'math-verify[antlr4_13_2]'")

NAMED = [
    (r"\frac{R}{r}", "1", False), ("f'(x)", "f(x)", False), ("A'", "A", False), ("f'(x) = 2x", "2x", True),
    ("x=2, y=3", "x=3, y=2", False), ("x=2, y=3", "y=3, x=2", True), ("x=2, y=3", "2, 3", True),
    ("x=2, y=3", "3, 2", False), (r"a = 2 \text{ and } b = 5", "a = 5 and b = 2", False), ("p=3; q=4", "p=4; q=3", False),
    ("2, 3", "x_1 = 3, x_2 = 2", True), ("x=2, x=3", "3, 2", True), ("3", "3 = x", True), ("3", "4 = x", False),
    ("42", r"6 \times 7 = 42", True), ("42", r"6 \times 7 = 43", False), ("5", "10 - 5 = 2 + 3", False),
    ("x=3", "2x=6", True), ("x=3", "2x=8", False), ("x=3", "x^2=9", False), ("y=2x+1", "2x-y+1=0", True),
    ("y=2x+1", "2x-y-1=0", False), (r"\pi(R^2-r^2)", r"\pi(r^2-R^2)", False), (r"\pi(R^2-r^2)", "0", False),
    (r"\pi(R^2-r^2)", r"\pi R^2-\pi r^2", True), ("A-a", "0", False), ("A-a", "-a+A", True),
]  # fmt: skip
"""Which value belongs to which name, and which names are different ones."""

ORDERED = [
    ("(AB)^{-1}", "A^{-1}B^{-1}", False), ("(AB)^{-1}", "B^{-1}A^{-1}", True), ("(AB)^T", "B^TA^T", True),
    ("A^{-1}B", "BA^{-1}", False), ("A^{-1}B", "A^{-1} B", True), ("A^TB", "BA^T", False), ("A^{T}B", "A^TB", True),
    ("AB^{-1}", "B^{-1}A", False), ("PDP^{-1}", "P^{-1}DP", False), ("PDP^{-1}", r"P D P^{-1}", True),
    ("A^T", "A", False), ("A^T", "A^{T}", True), (r"\vec{a}\times\vec{b}", r"\vec{b}\times\vec{a}", False),
    (r"\vec{a}\times\vec{b}", r"\vec{a} \times \vec{b}", True),
]  # fmt: skip
"""Products of matrices and of vectors."""

SETS = [
    (r"\{x \mid x \ne 2\}", r"\{x \mid x \ne 3\}", False), (r"\{x \mid x \ne 2\}", "x ≠ 2", True),
    (r"\{x : x>1\}", r"\{x : x<1\}", False), (r"\{x : x>1\}", r"\{x \mid x > 1\}", True), (r"\{x : x>1\}", r"(1,\infty)", True),
    (r"(-\infty,5]", r"x \le 5", True), (r"(-\infty,5]", "x<5", False), ("(2,3)", "2<x<3", True), ("(2,3)", r"2<x\le 3", False),
    (r"x \in (1,2)", r"x \in [1,2]", False), (r"\emptyset", r"\varnothing", True), (r"\{1,2\}", r"\lbrace 1,2\rbrace", True),
    (r"(-\infty,-1)\cup(1,\infty)", "(-∞,-1) U (1,∞)", True), (r"(-\infty,-1)\cup(1,\infty)", "(-∞,-1) U (2,∞)", False),
]  # fmt: skip
"""Intervals, inequalities and sets by their condition."""

CONSTANTS = [
    ("(1+i)^2", "2i", True), ("(1+i)^2", "-2i", False), ("|3+4i|", "5", True), (r"\sqrt{-4}", "2i", True), (r"\sqrt{-4}", "-2i", False),
    (r"\cos 60^\circ", r"\frac{1}{2}", True), (r"\cos 60^\circ", r"\frac{\sqrt{3}}{2}", False), (r"\sin 30^\circ", r"\sin 30", False),
    (r"10\sin 20^\circ", r"10\cos 70^\circ", True), (r"\frac{1}{1+i}", r"\frac{1-i}{2}", True), (r"\frac{1}{1+i}", r"\frac{1+i}{2}", False),
    (r"\log_3 5", r"\frac{\ln 5}{\ln 3}", True), (r"\log_3 5", r"\frac{\ln 3}{\ln 5}", False), (r"\log_2 3", r"\frac{\log 3}{\log 2}", True),
    (r"0.\bar{3}", r"\frac13", True), (r"0.\bar{3}", "0.3", False), (r"50\%", r"\frac12", True), (r"50\%", r"\frac13", False),
]  # fmt: skip
"""Values that take more than rearranging."""

UNITS = [
    (r"\pounds 5", "£5", True), (r"\text{USD } 5", r"\$6", False), (r"\text{USD } 5", "$5", True),
    (r"10\pi \text{ cm}", "10π cm", True), (r"10\pi \text{ cm}", "10π m", False), (r"10\sqrt{2}", "10√2 units", True),
    (r"18\sqrt{3}", "18√3 cm²", True), (r"18\sqrt{3} \text{ cm}^2", "18√3 cm", False), (r"\$5", "€5", False), ("£5", "€5", False),
    ("£5", "£5", True), ("17", "17€", True), ("17", "USD 17", True), ("17", "₹17", True), ("17", "USD 18", False),
    (r"10:00 \text{ a.m.}", "10 AM", True), (r"10:00 \text{ a.m.}", "10 PM", False), (r"7 \text{ PM}", "7:00 p.m.", True),
    (r"7 \text{ PM}", "7", True), (r"7 \text{ PM}", "7:30 p.m.", False), (r"45^\circ", r"45\degree", True), (r"45^\circ", "45^o", True),
    (r"45^\circ", "54^o", False), (r"20^\circ\text{C}", "20 ℃", True), (r"20^\circ\text{C}", "20 ℉", False), ("5^{th}", "5th", True),
]  # fmt: skip
"""Units behind formulas, currencies, hours and degrees."""

MARKUP = [
    (r"x \equiv 2 \pmod{3}", "x ≡ 2 (mod 3)", True),
    ("17", "• 17", True), ("17", "> 17", True), ("17", "17 ✅", True), ("17", "17</s>", True), ("17", r"\Huge{17}", True),
    ("17", r"\ensuremath{17}", True), ("17", r"\fcolorbox{red}{white}{17}", True), ("17", r"\colorbox{yellow}{18}", False),
    (r"\frac{3}{4}", r"\nicefrac{3}{4}", True), (r"\frac{3}{4}", "³⁄₄", True), (r"\frac{3}{4}", "⁴⁄₃", False),
    (r"\text{C}", r"\text{C. }", True), (r"\text{C}", r"\text{D. }", False), (r"x \equiv 3 \pmod{7}", r"x \equiv 3 \pmod 7", True),
    (r"3 \pmod 7", "3 (mod 7)", True), (r"3 \pmod 7", "3 (mod 8)", False),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\[2pt] 2 \end{pmatrix}", True),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\[2pt] 1 \end{pmatrix}", False), ("3:5", r"3\colon 5", True),
]  # fmt: skip
"""Commands and marks that mean nothing, or the same as others."""


@pytest.fixture(scope="module")
def verifier() -> Iterator[Mathematics]:
    made = Mathematics(seconds=20.0, processes=1)
    yield made
    made.close()


@pytest.mark.parametrize(("right", "answer", "correct"), NAMED + ORDERED + SETS + CONSTANTS + UNITS + MARKUP)
def test_an_answer_in_another_notation(verifier: Mathematics, right: str, answer: str, correct: bool) -> None:
    verdict = verifier.verify(Problem("p", "?", right), f"<answer>{answer}</answer>")
    assert verdict.correct is correct, verdict


def test_only_letters_of_both_cases_are_kept_apart() -> None:
    assert kept_apart("R^2 - r", r"\pi R") == ("r_{82}^2 - r", r"\pi r_{82}")
    assert kept_apart("X", "x") == ("X", "x"), "one side has the one, the other the other: the same name"


def test_a_result_is_that_of_numbers_only() -> None:
    assert result_of(r"3 \cdot 4 = 12") == "12"
    for equation in ("a+b=12", "x = 3", "3 = x", r"5 \ne= 3", "12"):
        assert result_of(equation) == equation
