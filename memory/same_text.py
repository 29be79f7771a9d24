"""When two sentences say the same thing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR = 0.95
"""Cosine from which two sentences are one, if what may not differ (`_exact`) is the same."""
_NEGATION = re.compile(r"(?:no|not|never|none|without|avoid|cannot|\w+n't)")
_DECISIVE = frozenset(
    """before after until while and or nor both either neither all any some each every only once again up down over under
    off on in out into from to at by through above below between first last more less most least than if unless except
    must may should can""".split()
)
"""Little words on which much hangs. Embedders make little of them; the default one does not see most of them."""
_TOKEN = re.compile(r"\d+|[^\W\d]+(?:'[^\W\d]+)?|!=|[^\w\s.,;:!?\"'()\[\]`“”‘…]")

Same = Callable[[str, str], bool]


def same_texts(
    texts: Sequence[str], embed: Callable[[Sequence[str]], NDArray[np.float32]], near: float | None = NEAR
) -> Same:
    """A judge of any two of `texts`, which are embedded in one call.

    Equal but for case and white space: the same. Otherwise the same from a cosine of `near`, unless they differ in numbers,
    signs, negations or the little words that turn a sentence round: "take 3 rings" is near "take 4 rings", "a + b" near
    "a - b", "before the flip" near "after the flip". None: equal ones only.
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


def _exact(text: str) -> tuple[str, ...]:
    """What may not differ between two that are one, in its order."""
    tokens = _TOKEN.findall(text.replace("’", "'"))
    kept = ("not" if _NEGATION.fullmatch(token) else token for token in tokens)
    return tuple(token for token in kept if token == "not" or token in _DECISIVE or not token[0].isalpha())
