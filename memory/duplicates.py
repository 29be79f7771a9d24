"""When two sentences say the same thing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR = 0.95
"""Cosine from which two sentences are one, if numbers and negations agree."""
_NEGATION = re.compile(r"\b(?:no|not|never|none|without|avoid|cannot|don't|doesn't|isn't|n't)\b|n't\b")
_NUMBER = re.compile(r"\d+")

Same = Callable[[str, str], bool]


def same_texts(
    texts: Sequence[str], embed: Callable[[Sequence[str]], NDArray[np.float32]], near: float | None = NEAR
) -> Same:
    """A judge of any two of `texts`, which are embedded in one call.

    Equal but for case and white space: the same. Otherwise the same from a cosine of `near`, unless they differ in a number
    or in how often they negate: "take 3 rings" is near "take 4 rings". None: equal ones only.
    """
    distinct = list(dict.fromkeys(texts))
    vectors = dict(zip(distinct, embed(distinct), strict=True)) if near is not None and len(distinct) > 1 else {}

    def same(one: str, other: str) -> bool:
        a, b = _words(one), _words(other)
        if a == b:
            return bool(a)  # nothing said twice is nothing confirmed
        if near is None or not a or not b or _exact(a) != _exact(b):
            return False
        return float(vectors[one] @ vectors[other]) >= near

    return same


def _words(text: str) -> str:
    return " ".join(text.casefold().split())


def _exact(text: str) -> tuple[Counter[str], int]:
    """What may not differ between two that are one."""
    return Counter(_NUMBER.findall(text)), len(_NEGATION.findall(text))
