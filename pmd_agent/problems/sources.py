"""Rows out of files (JSONL, JSON, parquet, CSV) and out of the Hugging Face hub.

Whatever makes a whole source unreadable is one ProblemError here. What is wrong with single rows is for `parse_rows.py`.
pyarrow and datasets are imported where they are used: the command line's help must not wait for them.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd_agent.errors import ProblemError

_LONGEST_FIELD = 2**31 - 1
"""Characters of a CSV field; what is too long for a model is left out later, and said."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and where it stands."""

    where: str
    """`path:line` for JSONL and CSV (the last line of a row with several), `path row N` for JSON, parquet, hub."""
    value: Any
    """A dict if the row is as it should be; a line of JSONL may hold any JSON value."""
    number: int
    """Its place among the rows of its source, from 1; blank lines are not counted."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl, .json, .parquet or .csv file. ProblemError if the file or any row of it cannot be used."""
    rows = read(path)
    for row in rows:
        if not isinstance(row.value, dict):
            raise ProblemError(f"{row.where}: {describe_type(row.value)} instead of a JSON object", '{"field": ...}')
    return [row.value for row in rows]


def read(path: Path) -> list[Row]:
    """As `read_rows`, but each row with its place, and rows that are not objects left in for the caller to judge."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ProblemError(f"There is no {path}.", _nearest_to(path))
    if path.is_dir():
        raise ProblemError(f"{path} is a folder, not a file.", f"It holds: {_names_in(path)}.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ProblemError(
            f"{path}: {path.suffix or 'a name without a suffix'} is not a kind of file that can be read.",
            f"Rename or convert it to one of {', '.join(_READERS)}.",
        )
    with _as_problem(path):
        rows = reader(path)
    if not rows:
        raise ProblemError(f"{path} is empty: it holds no row.")
    return rows


def stream(path: Path) -> Iterator[Row]:
    """As `read`, but a JSONL file one row at a time: it may be larger than memory."""
    if path.suffix.lower() != ".jsonl" or not path.is_file():
        yield from read(path)
        return
    empty = True
    with _as_problem(path):
        for row in _stream_jsonl(path):
            empty = False
            yield row
    if empty:
        raise ProblemError(f"{path} is empty: it holds no row.")


def hub_file(name: str, file: str) -> Path:
    """One file of a dataset on the hub, downloaded where no copy is cached. ProblemError where there is none."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(name, file, repo_type="dataset"))
    # As in `load_hub`: many unrelated classes.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        raise ProblemError(
            f"{name}/{file} cannot be loaded: {type(error).__name__}: {reason}",
            f"{_hub_hint(error)} The dataset is problems.hub, its files are problems.files; problems.path is for files on disk.",
        ) from error


def load_hub(name: str, *, subset: str | None = None, split: str) -> list[dict[str, Any]]:
    """The rows of one split of a dataset on the hub, or of a local folder of the hub's shape.

    `subset` is the hub's configuration, None its default. Downloads unless HF_HUB_OFFLINE=1 or the copy is cached.
    ProblemError where there is no such dataset, subset, split or network.
    """
    try:
        import datasets
    except ImportError as error:
        raise ProblemError(f"Loading {name} needs the `datasets` package.", "pip install datasets") from error
    label = f"{name}{f' ({subset})' if subset else ''} [{split}]"
    try:
        with _quiet(datasets):
            loaded = datasets.load_dataset(name, subset, split=split)
            rows: list[dict[str, Any]] = loaded.to_list()
    # The library raises two dozen unrelated classes here; each is given the same context and chained.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        raise ProblemError(f"{label} cannot be loaded: {type(error).__name__}: {reason}", _hub_hint(error)) from error
    if not rows:
        raise ProblemError(f"{label} is empty: it holds no row.")
    return rows


def placed(source: str, values: Iterable[Any]) -> list[Row]:
    """Values without line numbers, as rows."""
    return [Row(f"{source} row {number}", value, number) for number, value in enumerate(values, start=1)]


def describe_type(value: object) -> str:
    """What JSON calls the type of `value`, with an article."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    names |= {int: "an integer", float: "a decimal number"}
    return names.get(type(value), f"a {type(value).__name__}")


def nearest(word: str, known: list[str]) -> str:
    """`Did you mean ...?`, or the first known ones."""
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}." if known else ""


def _read_jsonl(path: Path) -> list[Row]:
    return list(_stream_jsonl(path))


def _stream_jsonl(path: Path) -> Iterator[Row]:
    count = 0
    # newline="\n": a JSON string may hold U+2028 and the like, which must not be taken for the end of a line.
    with path.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                count += 1
                yield Row(f"{path}:{number}", _parse(line, f"{path}:{number}"), count)


def _read_json(path: Path) -> list[Row]:
    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        return []
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        # `datasets` and pandas write JSON lines under the name .json.
        if error.msg == "Extra data":
            return _read_jsonl(path)
        raise ProblemError(f"{path}:{error.lineno} is not JSON: {error.msg} (column {error.colno}).") from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{path} is not JSON: {error}.") from error
    if isinstance(value, dict) and "\n" not in text.strip():
        return [Row(f"{path}:1", value, 1)]
    if not isinstance(value, list):
        raise ProblemError(f"{path} holds {describe_type(value)} instead of a list of objects.")
    return placed(str(path), value)


def _parse(line: str, where: str) -> Any:
    hint = "A .jsonl file has one JSON object on every line."
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ProblemError(f"{where} is not JSON: {error.msg} (column {error.colno}).", hint) from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{where} is not JSON: {error}.", hint) from error


def _read_csv(path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
    rows: list[Row] = []
    limit = csv.field_size_limit(_LONGEST_FIELD)  # of the process: put back below
    try:
        names = list(reader.fieldnames or [])
        if len(set(names)) < len(names) or "" in names:
            raise ProblemError(f"{path}:1: the header has a column twice or without a name: {', '.join(names)}.")
        for record in reader:
            where = f"{path}:{reader.line_num}"
            if None in record:
                hint = "Put quotes around a field that has a comma in it."
                raise ProblemError(f"{where} has more than the header's {len(names)} fields.", hint)
            value = {name: text for name, text in record.items() if text is not None}
            rows.append(Row(where, value, len(rows) + 1))
    except csv.Error as error:
        raise ProblemError(f"{path}:{reader.reader.line_num} is not CSV: {error}.") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _read_parquet(path: Path) -> list[Row]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ProblemError(f"Reading {path} needs the `pyarrow` package.", "pip install pyarrow") from error
    try:
        # Not read_table(): it adds a column for every folder of the path that is named `key=value`.
        with pyarrow.parquet.ParquetFile(path) as file:
            values = file.read().to_pylist()
    except pyarrow.ArrowException as error:
        raise ProblemError(f"{path} is not parquet: {str(error).splitlines()[0]}.") from error
    return placed(str(path), values)


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
SUFFIXES = tuple(_READERS)
"""Of the files that can be read."""


def _nearest_to(path: Path) -> str:
    """What does exist near a path that does not."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        path, folder = folder, folder.parent
    names = {entry.name.lower(): entry.name for entry in _entries(folder)}
    close = [names[name] for name in difflib.get_close_matches(path.name.lower(), list(names), n=3, cutoff=0.5)]
    if close:
        return f"Did you mean {' or '.join(str(folder / name) for name in close)}?"
    return f"{folder} holds: {_names_in(folder)}."


def _names_in(folder: Path) -> str:
    names = [entry.name for entry in _entries(folder)]
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "nothing"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _hub_hint(error: Exception) -> str:
    text = str(error)
    if "BuilderConfig" in text or "Config name" in text:
        return "Set the subset to one of those named."
    if "split" in text.lower() and isinstance(error, ValueError | KeyError):
        return "Set the split to one of those named."
    return "Check the name and the network (HF_HUB_OFFLINE must be unset to download), or give a local file or folder."


@contextmanager
def _as_problem(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise ProblemError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        raise ProblemError(f"{path} cannot be read: {error.strerror or error}.") from error


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Without the library's progress bars: only the console writes to the terminal."""
    were_off = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            datasets.enable_progress_bars()
