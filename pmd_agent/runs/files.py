"""Files that are whole or not there, whenever the process or the machine dies.

A write goes to a temporary file, is forced to disk, and is renamed over its target in one move.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pmd_agent.runs.plain_files import no_link

TEMPORARY = ".tmp"


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """JSON in UTF-8: NaN and infinities are null, paths are text, a scalar of numpy or torch is its number.

    TypeError for anything else that JSON has no form for.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate becomes its JSON escape


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return _plain(value.item())
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def to_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """JSON Lines: one row a line."""
    return b"".join(to_json(row) + b"\n" for row in rows)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, and return when that is on disk. Makes missing folders.

    OSError leaves nothing half-written, and is what a link in the temporary file's place ends in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    with open(temporary, "wb", buffering=0, opener=no_link) as file:
        try:
            _write(file, content)
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _named(error, path) from None
    sync(path.parent)


def append(path: Path, content: bytes, *, last: bool) -> int:
    """Add to a file's end, forced to disk where it is the `last` of a commit; its length then. OSError leaves it as it was."""
    with open(path, "ab", buffering=0, opener=no_link) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            _write(file, content)
            if last:
                os.fsync(file.fileno())
        except OSError as error:
            file.truncate(before)
            raise _named(error, path) from None
        return before + len(content)


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """One more line of JSON, on disk when this returns. What a kill left of an earlier one goes. Raises OSError."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        shorten(path, whole)
    append(path, to_json(row) + b"\n", last=True)


def _write(file: io.FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _named(error: OSError, path: Path) -> OSError:
    """The same of a file by its name: what fails once the file is open does not say which it was."""
    return OSError(error.errno, error.strerror, error.filename or str(path))


def shorten(path: Path, length: int) -> None:
    """Cut a file after so many bytes, on disk too."""
    with open(path, "r+b", opener=no_link) as file:
        file.truncate(length)
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Force everything in a folder to disk."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            sync(path)
    sync(folder)


def discard(folder: Path) -> None:
    """Delete a folder such that at no moment half of it stands under its name."""
    if folder.suffix != TEMPORARY:
        temporary = folder.with_name(folder.name + TEMPORARY)
        shutil.rmtree(temporary, ignore_errors=True)
        os.replace(folder, temporary)
        folder = temporary
    shutil.rmtree(folder)
