"""What a Python caller may give, looked at where it is given: a wrong kind is one sentence, and no error deep inside."""

from __future__ import annotations

import operator
from typing import Any

from pmd_agent.errors import RunError


def a_text(value: Any, what: str) -> str:
    """Raises RunError for anything but a str."""
    if not isinstance(value, str):
        raise RunError(f"{what} is {kind_of(value)}, and no text.", "Give a str.")
    return value


def a_count(value: Any, what: str, *, least: int = 1) -> int:
    """A whole number, also one of numpy's. Raises RunError."""
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise RunError(
            f"{what} is {kind_of(value)}, and no whole number.", f"Give an int of {least} or more."
        ) from None
    if count < least:
        raise RunError(f"{what} is {count}.", f"Give {least} or more.")
    return count


def a_number(value: Any, what: str, least: float, most: float = float("inf")) -> float:
    """Raises RunError for anything but a number within these bounds."""
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise RunError(f"{what} is {kind_of(value)}, and no number.", "Give a float.") from None
    if not least <= number <= most:
        raise RunError(
            f"{what} is {number:g}.", f"Give {least:g} or more" + (f", up to {most:g}." if most < 1e9 else ".")
        )
    return number


def kind_of(value: Any) -> str:
    """Its type with an article, and a short value itself."""
    name = type(value).__name__
    if value is None:
        return "None"
    shown = f" ({value!r})" if isinstance(value, int | float | str) and len(repr(value)) < 40 else ""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}{shown}"
