"""Which insights say a rule: judged by hand, in the words that reflections have."""

from __future__ import annotations

import pytest

from pmd_agent.pipelines.support import has_content, says, supporters
from pmd_agent.types import Insight

SAY_IT = [
    ("Use zog max.", "Use zog max."),
    ("use  ZOG max", "Use zog max."),
    ("Check ring structures explicitly before counting atoms.", "Verify the ring structure before you count atoms."),
    ("Verify atom counts of the molecule.", "Check the atom count in each molecule."),
    ("Always convert units to SI before calculating.", "Convert units to SI before you compute."),
    ("Write the final answer within the answer tag.", "Put the final answer in the answer tags."),
    ("Never round intermediate results.", "Do not round intermediate results."),
    ("Avoid rounding intermediate results.", "Never round intermediate results."),
    ("Keep 3 significant digits in the result.", "Keep 3 significant digits."),
    ("Read the question twice before you answer it.", "Read the question twice before answering."),
    ("Dates of the sales department are written as 2026-03-01, year first.", "Sales writes dates year first."),
    ("Return an empty list when the input is empty.", "Return an empty list if the input is empty."),
    ("Sort the names by surname before you join them.", "Sort names by surname before joining."),
    ("Compare every option with the definition.", "Compare each option with the definition."),
    ("Prices start with the currency code, such as USD 7.25.", "Prices start with the currency code."),
    ("Handle negative numbers separately in the loop.", "Handle negative numbers separately."),
    ("Count the hydrogen atoms of each ring.", "Count hydrogen atoms in the ring."),
    ("Use the ideal gas law with temperature in kelvin.", "Apply the ideal gas law, temperature in kelvin."),
    ("Subtract the discount before adding the tax.", "Subtract the discount before you add tax."),
    ("Double-check the sign of the exponent.", "Double-check the exponent's sign."),
    ("检查环结构", "检查环结构"),
]  # fmt: skip
SAY_IT += [
    ("Choose A for rings.", "Pick A for rings."),
    ("A ring counts once.", "The ring counts once."),
    ("Take a ring as one: A ring counts once.", "Ring counts once."),
]
DO_NOT = [
    ("Use wex mul.", "Choose A."),
    ("Choose B.", "Choose A."),
    ("Choose a rule.", "Choose A."),
    ("Use wex sub.", "Use wex max."),
    ("Use vit max.", "Use zog max."),
    ("Never zog max.", "Use zog max."),
    ("Never use zog max.", "Use zog max."),
    ("Use zog.", "Use zog max."),
    ("Round intermediate results.", "Never round intermediate results."),
    ("Don't convert units to SI.", "Convert units to SI."),
    ("Keep 2 significant digits.", "Keep 3 significant digits."),
    ("Count atoms after checking ring structures.", "Count atoms before checking ring structures."),
    ("Add the tax before subtracting the discount.", "Subtract the tax before adding the discount."),
    ("Sales writes dates day first.", "Sales writes dates year first."),
    ("Support writes dates year first.", "Sales writes dates year first."),
    ("Use the largest exponent.", "Use the smallest exponent."),
    ("Sort in ascending order.", "Sort in descending order."),
    ("Multiply both sides by x.", "Divide both sides by x."),
    ("Prices start with the currency code.", "Prices end with the currency code."),
    ("The temperature must be in celsius.", "The temperature must be in kelvin."),
    ("Read the options.", "Compare each option with the definition."),
    ("Check units.", "Write the final answer in the answer tag."),
    ("a - b", "a + b"),
    ("Use x < y.", "Use x > y."),
    ("12.", "12."),
    ("", "Use zog max."),
    ("Use zog max.", ""),
    ("检查环结构", "检查链结构"),
]  # fmt: skip


@pytest.mark.parametrize(("insight", "rule"), SAY_IT)
def test_the_same_in_other_words_is_support(insight: str, rule: str) -> None:
    assert says(insight, rule)


@pytest.mark.parametrize(("insight", "rule"), DO_NOT)
def test_other_operands_negations_numbers_and_fragments_are_not(insight: str, rule: str) -> None:
    assert not says(insight, rule)


@pytest.mark.parametrize("text", ["12.", "", "...", "3 + 4", "=", "the of it", "not", "- 7", "\x00", "A.", "B."])
def test_what_says_nothing(text: str) -> None:
    assert not has_content(text)


@pytest.mark.parametrize("text", ["Use zog max.", "max", "Never round.", "检查环结构", "x = 7"])
def test_what_says_something(text: str) -> None:
    assert has_content(text)


def test_supporters_keep_their_order_and_their_kind_does_not_matter() -> None:
    texts = ["Use wex max.", "Use wex sub.", "use wex max"]
    insights = [Insight(str(i), f"p{i}", "strategy", text, 1.0, (), 0, 0) for i, text in enumerate(texts)]
    assert [i.id for i in supporters("Use wex max.", insights)] == ["0", "2"]


def test_a_long_text_takes_no_time() -> None:
    assert not says("x" * 100_000, "Use zog max.") and not says("n't " * 20_000 + "a", "Use zog max.")
