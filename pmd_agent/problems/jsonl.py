"""Bring your own: rows of any file (JSONL, JSON, parquet, CSV) or hub dataset, by the names of their fields.

A row needs a prompt and, unless `answer=None`, an answer. Fields that are named by no argument go into `Problem.data`,
where a verifier of your own finds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.choices import letter_answer, letters_of
from pmd_agent.problems.gather import BadRow, Gatherer, check_text, optional_text_of, text_of
from pmd_agent.problems.sources import Row, describe_type, load_hub, nearest, placed, read
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.types import Problem


@dataclass(frozen=True, slots=True)
class Fields:
    """Which field of a row is what. A name that differs from the default must be there in at least one row."""

    prompt: str = "prompt"
    answer: str | None = "answer"
    """None: the problems have no answer to compare with (the verifier runs something instead)."""
    system: str | None = "system"
    """Optional in a row; `system_text` where it is missing."""
    id: str | None = "id"
    """If no row has it, the id is `<name of the source>/<number of the row>`; if some have it, all must."""
    kind: str | None = "kind"
    """Optional in a row."""
    choices: str | None = "choices"
    """Optional in a row: letters, option texts in order, or the hub's {text, label}. The answer must then be a letter
    of theirs. None: a field of this name means nothing."""
    system_text: str = ""
    """The system message of every row that brings none."""


def load(
    path: Path,
    *,
    test_path: Path | None = None,
    fields: Fields | None = None,
    test_fraction: float = 0.1,
    seed: int = 42,
    max_bad_fraction: float = 0.0,
    **names: str | None,
) -> Split:
    """The problems of a file. Without a `test_path`, `test_fraction` of every kind is held out.

    Field names may be given as a `Fields` or one by one: `load(path, prompt="question", answer="gold")`.
    ProblemError for an unreadable file, an unknown field name, or more than `max_bad_fraction` of the rows not fitting.
    """
    path = Path(path)
    parts = [(path.stem, read(path))]
    if test_path is not None:
        stem = Path(test_path).stem
        # train/data.jsonl and test/data.jsonl must not name their problems alike.
        parts.append((stem if stem != path.stem else f"{stem}-test", read(Path(test_path))))
    return _load(str(path), parts, _fields(fields, names), test_fraction, seed, max_bad_fraction)


def load_from_hub(
    name: str,
    *,
    subset: str | None = None,
    split: str = "train",
    test_split: str | None = None,
    fields: Fields | None = None,
    test_fraction: float = 0.1,
    seed: int = 42,
    max_bad_fraction: float = 0.0,
    **names: str | None,
) -> Split:
    """As `load`, for a dataset of the hub. Without a `test_split`, `test_fraction` of `split` is held out."""
    splits = [split] + ([test_split] if test_split is not None else [])
    parts = []
    for part in splits:
        rows = load_hub(name, subset=subset, split=part)
        # An id must not depend on where a local folder lies.
        prefix = Path(name).name if Path(name).is_dir() else name
        parts.append((f"{prefix}/{part}", placed(f"{name} [{part}]", rows)))
    return _load(name, parts, _fields(fields, names), test_fraction, seed, max_bad_fraction)


def _load(
    source: str,
    parts: Sequence[tuple[str, Sequence[Row]]],
    fields: Fields,
    test_fraction: float,
    seed: int,
    max_bad_fraction: float,
) -> Split:
    gatherer = Gatherer(source, max_bad_fraction)
    gathered = []
    for prefix, rows in parts:
        present = {name for row in rows if isinstance(row.value, dict) for name in row.value}
        _check_names(fields, present, source)
        build = partial(_problem, fields=fields, prefix="" if fields.id in present else prefix)
        gathered.append(gatherer.gather(rows, build))
    skipped = gatherer.finish()
    train, test = (gathered[0], gathered[1]) if len(gathered) == 2 else hold_out(gathered[0], test_fraction, seed)
    return Split(train, test, skipped)


def _problem(row: Mapping[str, Any], number: int, *, fields: Fields, prefix: str) -> Problem:
    """`prefix` empty: the row has an id of its own."""
    named = {fields.prompt, fields.answer, fields.system, fields.id, fields.kind, fields.choices}
    data = {name: value for name, value in row.items() if name not in named}
    answer = _answer(row, fields.answer) if fields.answer is not None else None
    if fields.choices is not None and row.get(fields.choices) is not None:
        letters = letters_of(row[fields.choices])
        data["choices"] = letters
        answer = letter_answer(answer, letters, fields.answer or "") if answer is not None else None
    return Problem(
        id=f"{prefix}/{number}" if prefix else _id(row, fields.id or ""),
        prompt=text_of(row, fields.prompt),
        answer=answer,
        system=optional_text_of(row, fields.system, fields.system_text) if fields.system else fields.system_text,
        kind=optional_text_of(row, fields.kind) if fields.kind else "",
        data=data,
    )


def _answer(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    # An integer has one spelling, 0.5 and 5e-1 are two: a float must be written as the text to compare with.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(row, field)


def _id(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if value is None or value == "":
        raise BadRow(f"no {field!r}, though other rows have one")
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadRow(f"{field!r} is {describe_type(value)} instead of an integer or a string")
    return check_text(str(value), field)


def _check_names(fields: Fields, present: set[str], source: str) -> None:
    default = Fields()
    for role in ("prompt", "answer", "system", "id", "kind", "choices"):
        name = getattr(fields, role)
        if name is not None and name != getattr(default, role) and name not in present:
            hint = nearest(name, sorted(map(str, present)))
            raise ProblemError(f"No row of {source} has a field {name!r} (given as the {role}).", hint)


def _fields(fields: Fields | None, names: Mapping[str, str | None]) -> Fields:
    known = Fields.__dataclass_fields__
    for name in names:
        if name not in known:
            raise ProblemError(f"No field can be named for {name!r}.", nearest(name, list(known)))
    base = fields or Fields()
    return Fields(**{**{name: getattr(base, name) for name in known}, **names})
