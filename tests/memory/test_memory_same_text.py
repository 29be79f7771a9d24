"""What may be merged, and what says something else though it looks alike."""

from __future__ import annotations

import pytest

from pmd_agent.memory import HashingEmbedder
from pmd_agent.memory.same_text import same_texts


def same(one: str, other: str) -> bool:
    return same_texts([one, other], HashingEmbedder().embed)(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Apply the ring before the flip.", "Apply the ring after the flip."),
        ("Compute a + b first.", "Compute a - b first."),
        ("It is x > 0.", "It is x < 0."),
        ("It holds that a <= b.", "It holds that a >= b."),
        ("Check f(x) != 0.", "Check f(x) = 0."),
        ("The shift is -5.", "The shift is 5."),
        ("Choose zog or vit.", "Choose zog and vit."),
        ("Round up the ring.", "Round off the ring."),
        ("Use x ⊕ y.", "Use x ⊗ y."),
        ("Move over the ring.", "Move under the ring."),
        ("Take 3 rings, then 4.", "Take 4 rings, then 3."),
        (
            "Don’t use zog max here, in this mill, with these digits.",
            "Use zog max here, in this mill, with these digits.",
        ),
        ("", ""),
    ],
)
def test_what_says_something_else_is_not_the_same(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Use zog max.", " use  ZOG max."),
        ("Use `zog` max!", "Use zog max."),
        ("Don't guess.", "Don’t guess"),
        ("Count the rings, then add 3.", "Count the rings then add 3"),
    ],
)
def test_what_differs_in_form_alone_is_the_same(one: str, other: str) -> None:
    assert same(one, other)
