"""Bring your own: rows of any file (JSONL, JSON, parquet, CSV) or hub dataset, by the names of their fields.

A row needs a prompt and, unless `answer` is None, an answer. Fields that are named by no key go into `Problem.data`, where a
verifier finds them. A name with dots leads into objects: `details.level`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.choices import LETTERS, choices_of, letter_answer, letters_in, letters_of, option_lines
from pmd_agent.problems.parse_rows import BadRow, check_text, optional_text_of, text_of
from pmd_agent.problems.row_filters import MISSING, Where, field_names, has_field, lookup
from pmd_agent.problems.sources import Row, describe_type, nearest
from pmd_agent.problems.split import Split
from pmd_agent.problems.train_test import Build, RowSet, Rule, open_row_sets, train_and_test
from pmd_agent.types import Problem

ROLES = ("prompt", "answer", "system", "id", "kind", "choices")


@dataclass(frozen=True, slots=True)
class Fields:
    """Which field of a row is what. A name that differs from the default must be there in at least one row."""

    prompt: str = "prompt"
    answer: str | None = "answer"
    """None: the problems have no answer to compare with (the verifier runs something instead)."""
    system: str | None = "system"
    """Optional in a row; `system_text` where it is missing."""
    id: str | None = "id"
    """If no row has it, the id is `<name of the part>/<number of the row>`; if some have it, all must."""
    kind: str | None = "kind"
    """Optional in a row."""
    choices: str | tuple[str, ...] | None = "choices"
    """Optional in a row: letters, option texts in order, or the hub's {text, label}, as JSON where it is text; or several fields,
    each with the text of one option. The answer must then be a letter of theirs, or the name of such a field, and options that
    the prompt does not list are added to it. None: a field of this name means nothing."""

    def names(self) -> dict[str, str]:
        """field -> what it is, of all that are named."""
        named: dict[str, str] = {}
        for role in ROLES:
            name = getattr(self, role)
            for one in (name,) if isinstance(name, str) else name or ():
                named.setdefault(one, role)
        return named

    system_text: str | None = None
    """The system message of every row that brings none. None: the recipe's verifier says what format it reads."""


def load(
    path: Path | None,
    *,
    test_path: Path | None = None,
    hub: str = "",
    subset: str | None = None,
    split: str = "train",
    test_split: str | None = None,
    where: Where | None = None,
    split_field: str | None = None,
    test_fraction: float = 0.1,
    seed: int = 42,
    max_bad_fraction: float = 0.0,
    **names: str | tuple[str, ...] | None,
) -> Split:
    """The problems of a file or folder, or of a dataset on the hub (see `open_row_sets`), with the fields that `names` gives.

    ProblemError for a source that cannot be read, an unknown field name, or more than `max_bad_fraction` of the rows not
    fitting.
    """
    fields = _fields(names)
    source, row_sets = open_row_sets(
        path, test_path=test_path, hub=hub, subset=subset, split=split, test_split=test_split
    )  # fmt: skip
    _check_names(fields, [row for row_set in row_sets for row in row_set.rows], source)
    rule = Rule(where or {}, split_field, test_fraction, seed, max_bad_fraction)
    return train_and_test(source, row_sets, partial(_build, fields), rule)


def load_from_hub(hub: str, **keys: Any) -> Split:
    """`load`, with the keys in the order of the section `hub`."""
    return load(None, hub=hub, **keys)


def _build(fields: Fields, row_set: RowSet) -> Build:
    prefix = "" if fields.id is not None and has_field(row_set.rows, fields.id) else row_set.name
    return partial(problem_of, fields=fields, prefix=prefix)


def problem_of(row: Mapping[str, Any], number: int, *, fields: Fields, prefix: str) -> Problem:
    """`prefix` empty: the row has an id of its own."""
    named = fields.names()
    data = {name: value for name, value in row.items() if name not in named}
    row = dict(row) | {name: value for name in named if (value := lookup(row, name)) is not MISSING}
    answer = _answer(row, fields.answer) if fields.answer is not None else None
    prompt = text_of(row, fields.prompt)
    choices = choices_of(row, fields.choices) if fields.choices is not None else None
    if choices is not None:
        letters = letters_of(choices)
        data["choices"] = letters
        if answer is not None:
            answer = letter_answer(_letter_named(answer, fields.choices), letters, fields.answer or "")
        if letters_in(prompt) != letters:
            prompt = "\n\n".join(filter(None, (prompt, option_lines(choices))))
    system = fields.system_text or ""
    return Problem(
        id=f"{prefix}/{number}" if prefix else _id(row, fields.id or ""),
        prompt=prompt,
        answer=answer,
        system=optional_text_of(row, fields.system, system) if fields.system else system,
        kind=_kind(row, fields.kind) if fields.kind else "",
        data=data,
    )


def _letter_named(answer: str, fields: str | Sequence[str] | None) -> str:
    """The letter of the option whose field an answer names: `option2`; an answer that names none is itself."""
    if isinstance(fields, str) or not fields or answer not in fields:
        return answer
    return LETTERS[list(fields).index(answer)]


def _answer(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    # An integer has one spelling, 0.5 and 5e-1 are two: a float must be written as the text to compare with.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(row, field)


def _kind(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else optional_text_of(row, field)


def _id(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if value is None or value == "":
        raise BadRow(f"no {field!r}, though other rows have one")
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadRow(f"{field!r} is {describe_type(value)} instead of an integer or a string")
    return check_text(str(value), field)


def _check_names(fields: Fields, rows: Sequence[Row], source: str) -> None:
    usual = Fields().names()
    for name, role in fields.names().items():
        if usual.get(name) != role and not has_field(rows, name):
            hint = nearest(name, field_names(rows))
            raise ProblemError(f"No row of {source} has a field {name!r} (given as the {role}).", hint)


def _fields(names: Mapping[str, str | tuple[str, ...] | None]) -> Fields:
    known = Fields.__dataclass_fields__
    for name in names:
        if name not in known:
            raise ProblemError(f"No field can be named for {name!r}.", nearest(name, list(known)))
    return Fields(**names)  # type: ignore[arg-type]
