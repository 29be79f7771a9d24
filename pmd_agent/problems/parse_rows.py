"""From rows to problems: every row that does not fit is noted with its place and its reason, then all are reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.sources import Row, describe_type
from pmd_agent.types import Problem

SHOWN = 5
"""How many reasons one error lists."""
FEW = 2
FEW_FRACTION = 0.01
"""Rows without an answer that are left out whatever `max_bad_fraction` is: so many, or this share of all, the larger."""


class BadRow(Exception):
    """Raised while one row is turned into a problem: the message is the reason."""


class NoAnswer(BadRow):
    """Raised for a row that is as it should be, but whose source never gave an answer: no fault of the file."""


class Misfits(ProblemError):
    """More rows do not fit than may. `reasons` has all of them, each as `where: reason`."""

    def __init__(self, message: str, hint: str, reasons: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.reasons = reasons


class Gatherer:
    """Collects the problems of one source, which may be several files: ids are unique over all of them."""

    def __init__(self, source: str, max_bad_fraction: float = 0.0) -> None:
        if not 0.0 <= max_bad_fraction < 1.0:
            raise ProblemError(
                f"max_bad_fraction is {max_bad_fraction}.",
                "Give a number from 0 (none may be bad) up to, not including, 1.",
            )
        self.source = source
        self.max_bad_fraction = max_bad_fraction
        self.total = 0
        self.bad: list[str] = []
        self.unanswered = 0
        """Of the bad ones, those that have no answer."""
        self._places: dict[str, str] = {}
        self._fields: tuple[str, ...] = ()

    def gather(self, rows: Iterable[Row], build: Callable[[Mapping[str, Any], int], Problem]) -> tuple[Problem, ...]:
        """The problems of the rows that fit. `build` gets a row and its number; it raises BadRow where that fails."""
        problems = []
        for row in rows:
            self.total += 1
            try:
                problem = build(self._object(row), row.number)
                if problem.id in self._places:
                    raise BadRow(f"the id {problem.id!r} was already taken by {self._places[problem.id]}")
            except BadRow as reason:
                self.unanswered += isinstance(reason, NoAnswer)
                self.bad.append(f"{row.where}: {reason}")
            else:
                self._places[problem.id] = row.where
                problems.append(problem)
        return tuple(problems)

    def finish(self) -> tuple[str, ...]:
        """The rows left out, as `where: reason`. Misfits if they are too many; ProblemError if there is no row at all."""
        if not self.bad and self.total:
            return ()
        few = self.unanswered < self.total and self.unanswered <= max(FEW, FEW_FRACTION * self.total)
        faults = len(self.bad) - self.unanswered if few else len(self.bad)
        if self.total and faults <= self.max_bad_fraction * self.total:
            return tuple(self.bad)
        if not self.total:
            raise ProblemError(f"{self.source} holds no problem.")
        lines = "".join(f"\n    {line}" for line in self.bad[:SHOWN])
        more = f"\n    ... and {len(self.bad) - SHOWN} more" if len(self.bad) > SHOWN else ""
        message = f"{len(self.bad)} of {self.total} rows of {self.source} cannot be used:{lines}{more}"
        raise Misfits(message, self._hint(), tuple(self.bad))

    def _object(self, row: Row) -> Mapping[str, Any]:
        if not isinstance(row.value, dict):
            raise BadRow(f"{describe_type(row.value)} instead of a JSON object")
        self._fields = self._fields or tuple(str(name) for name in row.value)
        return row.value

    def _hint(self) -> str:
        fraction = math.ceil(100 * len(self.bad) / self.total) / 100
        if fraction > 0.5:
            fields = ", ".join(self._fields) or "no field"
            return f"Most rows do not fit: is it the right file? The first row has: {fields}."
        return f"Mend them, or leave them out with problems.max_bad_fraction={fraction:g}"


def text_of(row: Mapping[str, Any], field: str) -> str:
    """A field that must be there and must be text. BadRow says which of the two it is not."""
    if row.get(field) is None:
        present = ", ".join(map(str, row)) or "nothing"
        raise BadRow(f"{field!r} is null" if field in row else f"no {field!r} (it has: {present})")
    value = row[field]
    if not isinstance(value, str):
        raise BadRow(f"{field!r} is {describe_type(value)} instead of a string")
    if not value.strip():
        raise BadRow(f"{field!r} is empty")
    return check_text(value, field)


def optional_text_of(row: Mapping[str, Any], field: str, default: str = "") -> str:
    """A field that may be missing, null or empty (then the default), but must otherwise be text."""
    value = row.get(field)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise BadRow(f"{field!r} is {describe_type(value)} instead of a string")
    return check_text(value, field)


def check_text(value: str, field: str) -> str:
    """The text itself. BadRow where it cannot be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # A JSON file can hold half a surrogate pair; every tokenizer would fail on it, hours later.
        raise BadRow(f"{field!r} holds a character that UTF-8 cannot (a lone surrogate)") from error
    return value
