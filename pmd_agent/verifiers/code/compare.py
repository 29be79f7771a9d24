"""What a program gave against what is expected, outside of its reach."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any


def same_output(got: str, expected: str) -> bool:
    """Line by line, blanks around lines and around the whole aside; lines of numbers by their values (1.0 is 1).

    Numbers are compared exactly: as LiveCodeBench does, no tolerance is given.
    """
    got_lines, expected_lines = got.strip().split("\n"), expected.strip().split("\n")
    if len(got_lines) != len(expected_lines):
        return False
    return all(_same_line(g.strip(), e.strip()) for g, e in zip(got_lines, expected_lines, strict=True))


def same_value(got: Any, expected: Any) -> bool:
    """Equality of plain values, where a tuple is as good as a list: expected values are JSON, which has lists only."""
    return bool(_listed(got) == expected)


def _same_line(got: str, expected: str) -> bool:
    if got == expected:
        return True
    got_words, expected_words = got.split(), expected.split()
    if len(got_words) != len(expected_words):
        return False
    try:
        return all(Decimal(g) == Decimal(e) for g, e in zip(got_words, expected_words, strict=True))
    except (InvalidOperation, ValueError):
        return False


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
