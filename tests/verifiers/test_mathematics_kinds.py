r"""Kinds of answers that were once read wrongly: each with right and wrong ones, in a tag and in a box."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pmd_agent.types import Problem
from pmd_agent.verifiers import Mathematics
from pmd_agent.verifiers.mathematics import to_be_worked_out

pytest.importorskip("math_verify", reason="pip install 'math-verify[antlr4_13_2]'")

SCIENTIFIC = [
    ("1e3", "1000", True), ("1E3", "1000", True), ("1e-3", "0.001", True), ("1e−3", "0.001", True),
    ("2e3", "5.4365637", False), ("2e3", "2000", True), ("2e3", "6e", False),
    ("6.02e23", r"6.02 \times 10^{23}", True), ("6.02e23", r"6.02 \times 10^{22}", False),
    (r"6.02 \times 10^{23}", "6.02E23", True), (r"6.02 \times 10^{23}", "6.02*10^23", True),
    (r"6.02 \times 10^{23}", "6.02 × 10²³", True), (r"6.02 \times 10^{23}", "6.02 x 10^23", True),
    ("1.0e0", "1", True), ("-1e3", "-1000", True), ("-1e3", "1000", False), ("1e3", "1e4", False),
    ("1e3", "3e", False), ("3e", "3e", True), ("3e", "8.154845", True), ("2e^3", "2e^{3}", True),
    ("2e^3", "2000", False), ("e^2", "e^2", True), ("2e", "e2", True), ("1e10", "10000000000", True),
    (r"1.5e3 \text{ m}", r"1500 \text{ m}", True), (r"1.5e3 \text{ m}", "1500", True),
    ("(1e3, 2)", "(1000, 2)", True), ("(1e3, 2)", "(3e, 2)", False), ("1e3x", "1000x", True), ("1e3x", "3ex", False),
    ("0.5e1", "5", True), (".5e1", "5", True), ("5e-1", r"\frac{1}{2}", True), (r"1\text{e}3", "1000", True),
    (r"1\mathrm{E}3", "1000", True), (r"1.5 \cdot 10^3", "1500", True), ("1500", r"1.5 \cdot 10^{3}", True),
    ("1e3, 2e3", "1000, 2000", True), ("1e3, 2e3", "2000, 1000", True), ("12e2", "1200", True),
    ("1e3%", "1000%", True),
]  # fmt: skip
"""1e3 is 1000, and never three times Euler's number."""

NEAR_ZERO = [
    ("0.0000001", "0.0000001", True), ("0.0000001", "1e-7", True), ("0.0000001", "0", False),
    ("0", "0.0000001", False), ("0.0000001", "-0.0000001", False), ("1e-7", "-1e-7", False),
    ("1.0e-7", "1e-7", True), ("10^{-19}", "10^{-20}", False), ("10^{-19}", "10^{-19}", True),
    (r"\sqrt{2} \times 10^{-20}", r"\sqrt{3} \times 10^{-20}", False),
    (r"\sqrt{2} \times 10^{-20}", r"10^{-20}\sqrt{2}", True), (r"\frac{1}{2^{70}}", "2^{-70}", True),
    (r"\frac{1}{2^{70}}", r"\frac{1}{4^{35}}", True), (r"\frac{1}{10^{30}}", r"\frac{2}{10^{30}}", False),
    (r"\frac{1}{10^{30}}", "10^{-30}", True), (r"\frac{1}{3^{50}}", r"\frac{1}{3^{51}}", False),
    (r"\frac{1}{100!}", r"\frac{1}{101!}", False), ("(0.0000001, 2)", "(0.0000002, 2)", False),
    ("(0.0000001, 2)", "(1e-7, 2)", True), (r"\{0.0000001, 2\}", r"\{0.0000002, 2\}", False),
    ("0.0000001, 2", "0.0000002, 2", False), ("[0, 0.0000001]", "[0, 0.0000002]", False),
    ("0.0000001x", "0.0000002x", False), ("0.0000001x", "x/10000000", True),
    ("10^{-20}x", r"2\cdot 10^{-20}x", False), ("y = 0.0000001x", "y=0.0000002x", False),
    ("x < 0.0000001", "x < 0.0000002", False),
    (r"\begin{pmatrix}0.0000001\\2\end{pmatrix}", r"\begin{pmatrix}0.0000002\\2\end{pmatrix}", False),
    ("1.0000001", "1.0000002", False), ("1.00000010", "1.0000001", True),
    ("100000.0000001", "100000.0000002", False), ("e^{-40}", "e^{-41}", False),
    ("e^{-40}", r"\frac{1}{e^{40}}", True), (r"0.00000016\text{ m}", r"1.6e-7\text{ m}", True),
    (r"0.00000016\text{ m}", r"1.7e-7\text{ m}", False), (r"0.00000001\%", r"0.00000002\%", False),
    (r"5 \times 10^{-8}", r"5.0 \times 10^{-8}", True), ("0.0000005", "0.0000004", False),
    ("-0.0000004", "0.0000004", False), (r"\frac{1}{3000000}", r"\frac{1}{4000000}", False),
    (r"\frac{1}{10000000}", "0.0000001", True),
]  # fmt: skip
"""Numbers near zero, alone and inside of what is larger."""

ROUNDED = [
    (r"\frac{1}{3}", "0.333333", True), (r"\frac{1}{3}", "0.33", False), (r"\frac{1}{3}", "0.3333333333", True),
    (r"\frac{2}{3}", "0.666667", True), (r"\frac{2}{3}", "0.666666", True), (r"\frac{2}{3}", "0.666668", False),
    (r"\sqrt{2}", "1.414214", True), (r"\sqrt{2}", "1.41", False), (r"\pi", "3.14", False),
    (r"\pi", "3.141593", True), (r"\frac13", r"0.\overline{3}", True), (r"0.\overline{36}", r"\frac{4}{11}", True),
    (r"0.1\overline{6}", r"\frac16", True), (r"0.1\overline{6}", r"\frac17", False),
    ("3.1415927", "3.1415928", False), (r"\frac{1}{7}", "0.142857", True), (r"\frac17", "0.142858", False),
]  # fmt: skip
"""A decimal of six places is the fraction or root that it is the rounding of; shorter ones, and other decimals, are not."""

PARTS = [
    (r"3 \text{ feet } 4 \text{ inches}", "3 feet 4 inches", True),
    (r"3 \text{ feet } 4 \text{ inches}", "3 ft 4 in", True),
    (r"3 \text{ feet } 4 \text{ inches}", "3 feet, 4 inches", True),
    (r"3 \text{ feet } 4 \text{ inches}", "3 feet and 4 inches", True),
    (r"3 \text{ feet } 4 \text{ inches}", "4 feet 3 inches", False),
    (r"3 \text{ feet } 4 \text{ inches}", "4 inches", False),
    (r"5 \text{ hours } 30 \text{ minutes } 10 \text{ seconds}", r"5 \text{ hours } 30 \text{ minutes } 20 \text{ seconds}", False),
    (r"5 \text{ hours}", r"5 \text{ minutes}", False), (r"5 \text{ hours}", "5 h", True),
    (r"10 \text{ cm}", r"10 \text{ m}", False), (r"10 \text{ cm}", r"10 \text{ centimeters}", True),
    (r"10 \text{ cm}^2", r"10 \text{ cm}^3", False), (r"10 \text{ cm}^2", r"10 \text{ square centimeters}", True),
    ("10", r"10 \text{ cm}", True), (r"10 \text{ cm}", "10", True),
    (r"5 \text{ apples}", r"5 \text{ oranges}", False), (r"5 \text{ apples}", "5", True),
    (r"5 \text{ apples}", r"6 \text{ apples}", False), (r"5 \text{ million}", r"5 \text{ billion}", False),
    (r"5 \text{ million}", "5000000", True), (r"5 \text{ million}", "5", False), ("1011_2", "1011_3", False),
    ("1011_2", "1011_{2}", True), ("1011_2", "1011", True), ("1011_2", "11", False), ("1011_2", "1010_2", False),
    ("2A_{16}", "2A_{15}", False), ("2A_{16}", "2a_{16}", True), ("1101_2", r"1101_{\text{two}}", True),
    ("1101_2", r"1101 \text{ (base 2)}", True), ("1101_2", r"1101\text{ base }3", False),
    ("1101_2 + 1", "1101_3 + 1", False), ("1101_2, 11_2", "1101_2, 11_3", False),
    ("1101_2, 11_2", "11_2, 1101_2", True), (r"2:30 \text{ pm}", r"2:30 \text{ p.m.}", True),
    (r"2:30 \text{ pm}", "2:30", True), (r"2:30 \text{ pm}", r"2:31 \text{ pm}", False),
    (r"2:30 \text{ pm}", r"1:15 \text{ pm}", False), ("02:30", "2:30", True), ("1:2", "2:4", True),
    ("1:2", r"\frac12", True), ("1:2", "1:3", False), ("1:2:3", "1:2:4", False), ("1:2:3", "1:2:3", True),
    ("1:2:3", "1:3:2", False), ("1,234", "1,235", False), ("1,234", "1234", True), ("1,234,567", "1,234,568", False),
    ("1,234,567", "1,234", False), (r"1\,000", r"1\,500", False), (r"1\,000\,000", r"2\,000\,000", False),
    (r"1\,000", "1000", True), ("12 000", "13 000", False), ("1 000", "1000", True), ("1{,}000", "1000", True),
    ("1000", "10", False), ("3 4", "7", False), (r"3 \quad 4", "7", False),
    (r"3x \text{ cm}", r"3x \text{ m}", False), (r"3x \text{ cm}", "3x", True),
    (r"12\pi \text{ cm}^2", r"12\pi", True), (r"12\pi \text{ cm}^2", r"12\pi\text{ cm}^3", False),
    (r"12\pi", r"12\pi\text{ square units}", True), ("2x+3t", "2x+3", False), ("2x+3s", "2x+3", False),
    ("5m", "5", False), ("5m", "5n", False), ("x^2+5h", "x^2+5", False), (r"3\%", r"3\%", True),
    (r"3\%", r"4\%", False), (r"5 \text{ or } 6", r"5 \text{ or } 7", False), (r"5 \text{ or } 6", "5", False),
    (r"5 \text{ or } 6", "6, 5", True), ("x=3, y=4", "x=3, y=5", False), ("x=3, y=4", "x=3", False),
    ("x=3, y=4", "y=4, x=3", True), (r"7 \pmod{11}", r"7 \pmod{12}", False), (r"7 \pmod{11}", r"7 \pmod{11}", True),
    (r"3 \text{ R } 2", r"3 \text{ R } 1", False), (r"3\text{ remainder }2", r"3\text{ remainder }1", False),
    (r"90^\circ 30'", r"90^\circ 20'", False), (r"30^\circ", "30", True),
    (r"30^\circ", r"30 \text{ radians}", False), (r"\$5", r"5 \text{ dollars}", True),
    (r"60 \text{ miles per hour}", r"60 \text{ mph}", True),
    (r"60 \text{ miles per hour}", r"60 \text{ miles}", False), (r"60\text{ km/h}", "60 km/h", True),
    (r"10\text{ m/s}", r"10\text{ s/m}", False), ("f(3)=5", "f(3)=6", False), ("a_1", "a_2", False),
    ("a_{12}", "a_{13}", False), ("x_1 + x_2", "x_1+x_3", False),
]  # fmt: skip
"""Units, bases, times and groups of digits: the whole answer counts."""

WORDS = [
    (r"\text{Friday}", "friday", True), (r"\text{Friday}", "Friday.", True), (r"\text{yes}", "Yes", True),
    (r"\text{yes}", "no", False), ("no", "on", False), (r"\text{no}", "on", False), ("listen", "silent", False),
    (r"\text{listen}", "silent", False), (r"\text{listen}", r"\text{silent}", False), ("god", "dog", False),
    ("angle", "glean", False), ("HTH", "THH", False), ("HT", "TH", False), ("ABC", "CAB", False),
    ("BAC", "BAC", True), ("stop", "stop", True), ("stop", r"\text{stop}", True), ("stop", r"\mathrm{stop}", True),
    ("stop", "**stop**", True), ("stop", r"s \cdot t \cdot o \cdot p", True), ("stop", "p o t s", False),
    ("ab", "ba", True), ("xyz", "zyx", True), ("ab", r"a \cdot b", True), ("2ab", "2ba", True),
    ("ab+c", "c+ba", True), ("(stop, 3)", "(post, 3)", False), ("stop, east", "post, seat", False),
    ("red, blue", "blue, red", True), (r"\text{red}, \text{blue}", "red and blue", True),
    (r"\text{even}", "odd", False), (r"\text{Evelyn}", "Evelyn", True), (r"\text{Evelyn}", "nylEve", False),
    (r"\text{(A)}", "A", True), (r"\text{A}", "B", False), (r"\text{A}", "(A)", True), ("A", "A", True),
    (r"\text{north east}", r"\text{east north}", False), (r"\text{north east}", "north east", True),
    (r"\text{not enough information}", "not enough information", True), ("2 stop", "2 post", False),
    (r"5 \text{ east}", r"5 \text{ seat}", False), ("x = stop", "x = post", False), ("see", "se^2", False),
    (r"\text{ellipse}", "ellipse", True), (r"\text{ellipse}", r"\text{circle}", False), ("ax+by", "by+ax", True),
    ("mn", "nm", True), ("kt", "tk", True), (r"\text{neither}", "neither", True), ("tan", "ant", False),
]  # fmt: skip
"""An anagram is another answer; a product of variables is not."""

MARKUP = [
    (r"2\sqrt{3}", r"\sqrt {12}", True), ("12", "= 12", True), ("12", "≈ 12", True), (r"\frac{1}{2}", r"\frac {1} {2}", True),
    ("1234", r"1,234 \text{ dollars}", True), (r"\frac{1,234}{x}", r"\frac{1234}{x}", True),
    ("42", "**42**", True), ("42", "*42*", True), ("42", "`42`", True), ("42", "__42__", True),
    ("42", r"\(42\)", True), ("42", r"\[ 42 \]", True), ("42", "$$42$$", True), ("42", "# 42", True),
    ("42", "#### 42", True), ("42", "<b>42</b>", True), ("42", "42<br>", True), ("42", "42&nbsp;", True),
    ("42", r"\mathbf{42}", True), ("42", r"\textbf{42}", True), ("42", r"\boldsymbol{42}", True),
    ("42", r"{\bf 42}", True), ("42", r"\text{42}", True), ("42", r"\fbox{42}", True), ("42", r"\boxed{42}", True),
    ("42", r"\boxed{\mathbf{42}}", True), ("42", r"\displaystyle 42", True), ("42", "42.", True),
    ("42", '"42"', True), ("42", "４２", True), ("42", "x = **42**", True), ("42", "**x = 42**", True),
    ("42", "**Answer:** 42", True), ("42", "The answer is **42**.", True),
    ("42", r"\begin{equation}42\end{equation}", True), ("42", r"\color{red}{42}", True), ("42", "**43**", False),
    ("42", r"\[43\]", False), ("42", "`43`", False), ("42", "−42", False), ("-42", "−42", True),
    ("-42", "—42", True), ("90", "90º", True), (r"90^\circ", "90 degrees", True), (r"90^\circ", r"90^{\circ}", True),
    (r"90^\circ", "91°", False), (r"\infty", "∞", True), (r"-\infty", "-∞", True), (r"\infty", "-∞", False),
    (r"\infty", "infinity", True), (r"(-\infty, 3)", "(−∞, 3)", True), (r"(0, \infty)", "(0,∞)", True),
    (r"2\sqrt{3}", "2√3", True), (r"2\sqrt{3}", "2√(3)", True), (r"2\sqrt{3}", r"2 \cdot √3", True),
    (r"2\sqrt{3}", "2*sqrt(3)", True), (r"2\sqrt{3}", "2√5", False), (r"\sqrt{12}", "√12", True),
    (r"\sqrt{12}", "√1 2", False), (r"\frac{1}{2}", "½", True), (r"1\frac{1}{2}", "1½", True),
    (r"\frac{3}{4}", "¾", True), (r"\frac{3}{4}", "½", False), ("x^2", "x²", True), ("x^{10}", "x¹⁰", True),
    ("x^{10}", "x^10", True), ("x^2", "x**2", True), ("x^2", "x³", False), ("a_1", "a₁", True), (r"\pi", "π", True),
    (r"2\pi", "2π", True), (r"2\pi", "2pi", True), (r"\frac{\pi}{2}", "π/2", True), (r"3\times 4x", "3 × 4x", True),
    (r"x \le 3", "x ≤ 3", True), (r"x \le 3", "x ≥ 3", False), ("(1,2)", "**(1, 2)**", True),
    ("(1,2)", r"\left(1, 2\right)", True), (r"\frac{1}{2}", r"\dfrac{1}{2}", True),
    (r"\frac{1}{2}", r"\tfrac12", True), (r"\frac{1}{2}", r"\\frac{1}{2}", True),
    (r"\frac{a}{b}", r"\dfrac{a}{b}", True), (r"50\%", "50%", True), (r"50\%", "**50%**", True),
    (r"\sin x", "sin(x)", True), (r"\ln 2", "ln(2)", True), (r"\sqrt[3]{2}", "∛2", True), (r"\emptyset", "∅", True),
    (r"[1,2] \cup [3,4]", "[1,2] ∪ [3,4]", True), (r"[1,2] \cup [3,4]", "[1,2] ∪ [3,5]", False),
    (r"1 \pm \sqrt{2}", "1 ± √2", True), (r"\theta", "θ", True), (r"\mathbb{R}", "ℝ", True),
    ("5", r"$\mathbf{5}$", True), (r"\frac{1}{2}", r"$\frac{1}{2}$", True), (r"-\frac{1}{2}", r"\frac{-1}{2}", True),
    (r"-\frac{1}{2}", "-½", True), ("3x+2", "**3x + 2**", True), ("3x+2", r"\[3x+2\]", True), ("25", "5²", False),
    ("5", "√25", False),
]  # fmt: skip
"""What chat models write around and instead of numbers."""

MIXED = [
    (r"1\frac{1}{2}", r"\frac{3}{2}", True), ("1 1/2", "1.5", True), ("x+1", "1+x", True), ("y=2x+3", "2x+3", True),
    ("2x+3", "y = 2x+3", True), ("x=5", "y=5", False), (r"x \in [1,2]", "[1,2]", True), ("(1,234)", "1234", False),
    ("(1,234)", "(1, 234)", True), (r"\{1,2,3\}", r"\{3,2,1\}", True), (r"\{1,2,3\}", "1,2,3", True),
    ("3, 14", "14, 3", True), ("3, 14", "3.14", False), (r"\frac{x}{2}", "x/2", True),
    (r"\frac{x}{2}", "0.5x", True), ("2^{10}", "1024", True), ("5!", "120", True), ("3+4i", "4i+3", True),
    ("i", "-i", False), (r"\sqrt{2}", r"-\sqrt{2}", False), ("1", r"\text{one}", False),
    ("2^{0.5}", r"\sqrt{2}", True), (r"\log_2 3", r"\log_3 2", False), (r"\binom{5}{2}x", "10x", True),
]  # fmt: skip
"""What else must stay as it is."""


@pytest.fixture(scope="module")
def verifier() -> Iterator[Mathematics]:
    made = Mathematics(seconds=20.0, processes=2)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("right", "answer", "correct"), SCIENTIFIC + NEAR_ZERO + ROUNDED + PARTS + WORDS + MARKUP + MIXED
)
def test_an_answer_of_a_kind(verifier: Mathematics, right: str, answer: str, correct: bool) -> None:
    for text in (f"<answer>{answer}</answer>", rf"So it is $\boxed{{{answer}}}$."):
        verdict = verifier.verify(Problem("p", "?", right), text)
        assert verdict.correct is correct, verdict


def test_each_kind_has_right_and_wrong_ones() -> None:
    for kind in (SCIENTIFIC, NEAR_ZERO, ROUNDED, PARTS, WORDS, MARKUP, MIXED):
        assert min(sum(row[2] for row in kind), sum(not row[2] for row in kind)) >= 4


@pytest.mark.parametrize("answer", ["**18**", "90°", r"\[17\]", "2e3", "–3", "½", r"17 \text{ apples}"])
def test_a_number_in_markup_is_not_told_to_be_worked_out(verifier: Mathematics, answer: str) -> None:
    verdict = verifier.verify(Problem("p", "?", "0.75"), f"<answer>{answer}</answer>")
    assert verdict.correct is False and "is not correct" in verdict.feedback


def test_what_is_a_calculation_stays_one_in_markup() -> None:
    assert to_be_worked_out("90^\\circ", "45+45") and to_be_worked_out("17 \\text{ apples}", "10+7")
