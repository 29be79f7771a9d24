"""Which rows are wanted, and fields inside of fields: `details.level` is `level` of the object `details`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.parse_rows import BadRow
from pmd_agent.problems.sources import Row, describe_type, nearest
from pmd_agent.recipe.problems import Bounds

MISSING = object()
Where = Mapping[str, Any]
"""Field -> a value, several values, or Bounds."""
_JSON_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d{0,300})(?:\.\d{1,300})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_NULL = ("null", "~", "")
_TRUTHS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}
"""How YAML writes them."""


def lookup(row: Mapping[str, Any], field: str) -> Any:
    """The field of this very name, else what the dots lead to; MISSING where there is neither."""
    if field in row:
        return row[field]
    value: Any = row
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def has_field(rows: Iterable[Row], field: str) -> bool:
    """Whether at least one row has it."""
    return any(isinstance(row.value, Mapping) and lookup(row.value, field) is not MISSING for row in rows)


def field_names(rows: Iterable[Row]) -> list[str]:
    """Of all rows, sorted; inside of objects too."""
    found: set[str] = set()
    for row in rows:
        if isinstance(row.value, Mapping):
            for name, value in row.value.items():
                found.add(str(name))
                if isinstance(value, Mapping):
                    found |= {f"{name}.{inner}" for inner in value}
    return sorted(found)


def wanted_rows(where: Where, rows: Collection[Row], source: str) -> Callable[[Mapping[str, Any]], bool]:
    """What tells a wanted row from others; a row without a field is not wanted. It raises BadRow where bounds meet no number.

    ProblemError for a field that no row has: it is a slip, not a filter.
    """
    for field in where:
        if not has_field(rows, field):
            hint = nearest(field, field_names(rows))
            raise ProblemError(f"No row of {source} has a field {field!r} (given in problems.where).", hint)
    return lambda row: all(_fits(lookup(row, field), wanted, field) for field, wanted in where.items())


def _fits(value: Any, wanted: Any, field: str) -> bool:
    if value is MISSING:
        return False
    if isinstance(wanted, Bounds):
        number = _number(value, field)
        low = wanted.min is None or number >= wanted.min
        return low and (wanted.max is None or number <= wanted.max)
    several = wanted if isinstance(wanted, list | tuple) else (wanted,)
    return any(_is_written(value, one) for one in several)


def _is_written(value: Any, wanted: Any) -> bool:
    """Whether a row's value is what `wanted` says: a text to the letter, a number by its value, true, false and null by name.

    A text in the row is never taken for a number: 010 is not 10, and 1.10 is not 1.1.
    """
    if not isinstance(wanted, str):
        return bool(value == wanted or str(value) == str(wanted))
    if isinstance(value, str):
        return value == wanted
    if value is None:
        return wanted.lower() in _NULL
    if isinstance(value, bool):
        return wanted.lower() in _TRUTHS[value]
    if isinstance(value, int | float):
        return bool(_JSON_NUMBER.fullmatch(wanted)) and Decimal(wanted) == Decimal(repr(value))
    return wanted in (str(value), getattr(value, "isoformat", str)())


def _number(value: Any, field: str) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)
    shown = repr(value)[:40] if isinstance(value, str) else describe_type(value)
    raise BadRow(f"{field!r} is {shown} instead of a number, which problems.where bounds")
