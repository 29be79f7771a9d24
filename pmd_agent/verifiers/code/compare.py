"""What a program gave against what is expected, outside of its reach."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

_LONGEST = 32
"""Characters of a real number that JSON has no form for: inf, nan."""


def same_output(got: str, expected: str) -> bool:
    """Line by line, blanks around lines and around the whole aside; lines of numbers by their values (1.0 is 1).

    Numbers are compared exactly: as LiveCodeBench does, no tolerance is given.
    """
    got, expected = got.strip(), expected.strip()
    # Counted first: what a program prints is not taken apart further than what is expected goes.
    if got.count("\n") != expected.count("\n"):
        return False
    lines = zip(got.split("\n"), expected.split("\n"), strict=True)
    return all(_same_line(g.strip(), e.strip()) for g, e in lines)


def same_value(got: Any, expected: Any) -> bool:
    """Whether `got`, written as by `encode`, is the value `expected`, which is JSON: hence a tuple is as good as a list.

    Nothing is built of what a program has sent, which may be of any form, and no further looked at than `expected` goes.
    """
    if isinstance(expected, list):
        items = got["of"] if isinstance(got, dict) and got.get("is") == "tuple" else got
        return _is_list(items, len(expected)) and all(
            same_value(item, wanted) for item, wanted in zip(items, expected, strict=True)
        )
    if isinstance(expected, dict):
        pairs = got.get("of") if isinstance(got, dict) and got.get("is") == "dict" else None
        if not _is_list(pairs, len(expected)):
            return False
        found = {pair[0]: pair[1] for pair in pairs if _is_list(pair, 2) and isinstance(pair[0], str)}
        return found.keys() == expected.keys() and all(same_value(found[key], expected[key]) for key in expected)
    return bool(number(got) == expected)


def number(got: Any) -> Any:
    """Of an integer or real number that JSON has no form for, the number; anything else as it is."""
    if isinstance(got, dict) and isinstance(text := got.get("of"), str):
        try:
            if got.get("is") == "int":
                return int(text, 16)
            if got.get("is") == "float" and len(text) <= _LONGEST:
                return float(text)
        except ValueError:
            pass
    return got


def _is_list(data: Any, length: int) -> TypeGuard[list[Any]]:
    return isinstance(data, list) and len(data) == length


def _same_line(got: str, expected: str) -> bool:
    if got == expected:
        return True
    expected_words = expected.split()
    got_words = got.split(None, len(expected_words))
    if len(got_words) != len(expected_words):
        return False
    try:
        return all(Decimal(g) == Decimal(e) for g, e in zip(got_words, expected_words, strict=True))
    except (InvalidOperation, ValueError):
        return False
