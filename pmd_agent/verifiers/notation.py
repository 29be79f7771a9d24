r"""What a parser would read wrongly: products that may not be reordered, and sets that are given by a condition.

A^{-1} B   P D P^{-1}   A^T B   \vec{a} \times \vec{b}     in this order only
\{x : x > 1\}   \{x \in \mathbb{R} \mid x > 1\}            x > 1
"""

from __future__ import annotations

import re

_POWER = r"\s?\^\s?(?:\{\s?(?:-1|-?T|\\top|\\dagger|\\ast|\*|H)\s?\}|T|\\top|\\dagger|H)"
_PRODUCT = re.compile(rf"[A-Z](?:{_POWER})?(?:\s?(?:\\cdot\s?)?[A-Z](?:{_POWER})?)*(?![a-z])")
_OF_PRODUCT = re.compile(
    r"\(\s?([A-Z](?:\s?[A-Z]){1,5})\s?\)(\s?\^\s?(?:\{\s?(?:-1|T|\\top|H|\\dagger)\s?\}|T|\\top|H))"
)
_TRANSPOSED = re.compile(r"\^\s?\{?\s?(?:-?T|\\top|\\dagger|H)")
_ARROW = r"\\(?:vec|hat|overrightarrow)\{[^{}]*\}"
_CROSS = re.compile(rf"{_ARROW}(?:\s?\\times\s?{_ARROW})+")
_CONDITION = re.compile(
    r"\\\{\s?([A-Za-z])(?:\s?\\in\s?(?:\\mathbb\{R\}|\\mathbf\{R\}|R))?\s?(?::|\\mid(?![A-Za-z])|\\colon|\||\\vert(?![A-Za-z]))(.*)\\\}"
)


def out_of_order(right: str, answer: str) -> bool:
    """Whether both hold products of matrices or vectors, and not the same ones."""
    right, answer = (_OF_PRODUCT.sub(_each_turned, text) for text in (right, answer))
    for products in (_matrix_products, _cross_products):
        one, other = products(right), products(answer)
        if one and other and one != other:
            return True
    bare = [_PRODUCT.fullmatch(text) is not None for text in (right, answer)]
    return all(bare) and bool(_TRANSPOSED.search(right)) != bool(_TRANSPOSED.search(answer))


def _each_turned(power: re.Match[str]) -> str:
    """B^{-1}A^{-1} of (AB)^{-1}."""
    return "".join(f"{letter}{power[2]}" for letter in reversed(power[1]) if letter.isalpha())


def set_condition(text: str) -> str:
    r"""`x > 1` of `\{x : x > 1\}`; anything else is itself."""
    found = _CONDITION.fullmatch(text)
    return found[2].strip() if found and found[1] in found[2] and "\\{" not in found[2] else text


def _matrix_products(text: str) -> list[str]:
    """Of two capital letters or more, with an inverse or a transposed one among them, or of one that is transposed."""
    found = [re.sub(r"\s|\\cdot|[{}]", "", product) for product in _PRODUCT.findall(text)]
    return sorted(product for product in found if "^" in product and (sum(map(str.isupper, product)) > 1))


def _cross_products(text: str) -> list[str]:
    return sorted(product.replace(" ", "") for product in _CROSS.findall(text))
