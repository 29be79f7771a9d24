"""Rows with a training and a test split: two files, a folder, a dataset of the hub, or one set of rows that is divided by rule.

open_row_sets      where the rows come from
train_and_test     rows -> filtered -> problems -> training and test, by what they are, by a field of the rows, or by chance
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.parse_rows import BadRow, Gatherer
from pmd_agent.problems.row_filters import MISSING, Where, field_names, has_field, lookup, wanted_rows
from pmd_agent.problems.sources import SUFFIXES, Row, load_hub, nearest, placed, read
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.types import Problem

Build = Callable[[Mapping[str, Any], int], Problem]
"""A row and its number -> a problem. Raises BadRow."""
SPLITS = {"train": "train", "test": "test", **dict.fromkeys(("validation", "valid", "val", "dev"), "validation")}
"""What a field that names a row's split may say."""


@dataclass(frozen=True, slots=True)
class RowSet:
    """Rows of one file or of one split of the hub."""

    name: str
    """For the ids of rows that have none; the same wherever the files lie."""
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Rule:
    """How rows are chosen and divided."""

    where: Where = field(default_factory=dict)
    split_field: str | None = None
    """The field that says which split a row is in."""
    test_fraction: float = 0.1
    """Held out where there is no test split."""
    seed: int = 42
    max_bad_fraction: float = 0.0


def open_row_sets(
    path: Path | None,
    *,
    test_path: Path | None = None,
    hub: str = "",
    subset: str | None = None,
    split: str = "train",
    test_split: str | None = None,
) -> tuple[str, list[RowSet]]:
    """(what to call the source, its row sets: the training split, and the test split where there is one). Raises ProblemError.

    `path` is a file; or a folder, with files called train and test or of the hub's shape; or None for `hub`.
    """
    if path is None:
        return hub, _hub_row_sets(hub, hub, subset, split, test_split)
    path = Path(path).expanduser()
    if path.is_dir():
        train, test = split_file(path, "train"), split_file(path, "test")
        if train is None:
            return str(path), _hub_row_sets(str(path), path.resolve().name, subset, split, test_split)
        files = [train, test_path or test]
    else:
        files = [path, test_path]
    row_sets: list[RowSet] = []
    for file in filter(None, files):
        name = Path(file).stem
        # train/data.jsonl and test/data.jsonl must not name their problems alike.
        row_sets.append(RowSet(name if name not in [p.name for p in row_sets] else f"{name}-test", read(file)))
    return str(path), row_sets


def train_and_test(source: str, row_sets: Sequence[RowSet], build: Callable[[RowSet], Build], rule: Rule) -> Split:
    """ProblemError for a field that no row has, for no row left, and for too many that do not fit."""
    rows = [row for row_set in row_sets for row in row_set.rows]
    wanted = wanted_rows(rule.where, rows, source)
    if rule.split_field:
        _check_split_field(rule.split_field, row_sets, rows, source)
    gatherer = Gatherer(source, rule.max_bad_fraction)
    own: dict[str, str] = {}
    gathered = [
        gatherer.gather(
            [row for row in row_set.rows if _let_through(wanted, row)],
            _checked(build(row_set), wanted, rule.split_field, own),
        )
        for row_set in row_sets
    ]
    if not gatherer.total:
        asked = ", ".join(f"{name}={value}" for name, value in rule.where.items())
        raise ProblemError(f"None of the {len(rows)} rows of {source} is where {asked}.", "Widen problems.where.")
    skipped = gatherer.finish()
    if rule.split_field:
        return _by_field(source, gathered[0], own, skipped)
    if len(gathered) == 1:
        return Split(*hold_out(gathered[0], rule.test_fraction, rule.seed), skipped)
    for row_set, problems in zip(row_sets, gathered, strict=True):
        if not problems:
            raise ProblemError(f"{row_set.name} of {source} has no problem that is wanted.", "Widen problems.where.")
    return Split(gathered[0], gathered[1], skipped)


def split_file(folder: Path, name: str) -> Path | None:
    """train.jsonl, train.csv, ... of a folder."""
    return next((folder / (name + suffix) for suffix in SUFFIXES if (folder / (name + suffix)).is_file()), None)


def _hub_row_sets(name: str, prefix: str, subset: str | None, split: str, test_split: str | None) -> list[RowSet]:
    if Path(name).is_dir():
        prefix = Path(name).resolve().name  # an id must not depend on where a local folder lies
    splits = [split] if test_split is None else [split, test_split]
    return [
        RowSet(f"{prefix}/{one}", placed(f"{name} [{one}]", load_hub(name, subset=subset, split=one))) for one in splits
    ]


def _let_through(wanted: Callable[[Mapping[str, Any]], bool], row: Row) -> bool:
    """Also what cannot be judged, to be reported as bad."""
    try:
        return not isinstance(row.value, Mapping) or wanted(row.value)
    except BadRow:
        return True


def _checked(
    build: Build, wanted: Callable[[Mapping[str, Any]], bool], split_field: str | None, own: dict[str, str]
) -> Build:
    """`build`, with the reasons that `_let_through` passed over, and the split of each problem noted in `own`."""

    def checked(row: Mapping[str, Any], number: int) -> Problem:
        wanted(row)
        problem = build(row, number)
        if split_field:
            value = lookup(row, split_field)
            split = SPLITS.get(str(value).strip().lower())
            if split is None:
                given = "missing" if value is MISSING else repr(value)[:40]
                raise BadRow(f"{split_field!r}, which says the split, is {given}: not train, validation or test")
            own[problem.id] = split
        return problem

    return checked


def _check_split_field(name: str, row_sets: Sequence[RowSet], rows: Sequence[Row], source: str) -> None:
    if len(row_sets) > 1:
        raise ProblemError(
            f"{source} has a test split of its own, and problems.split_field is set.", "Leave out one of the two."
        )
    if not has_field(rows, name):
        hint = nearest(name, field_names(rows))
        raise ProblemError(f"No row of {source} has a field {name!r} (given as problems.split_field).", hint)


def _by_field(source: str, problems: Sequence[Problem], own: Mapping[str, str], skipped: tuple[str, ...]) -> Split:
    by_split = {split: tuple(p for p in problems if own[p.id] == split) for split in set(SPLITS.values())}
    for split in ("train", "test"):
        if not by_split[split]:
            raise ProblemError(f"No problem of {source} is of the split {split!r}.", "See problems.split_field.")
    return Split(by_split["train"], by_split["test"], skipped, by_split["validation"] or None)
