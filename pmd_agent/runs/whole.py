"""Whether a folder is as it was written: size and checksum of each of its files, noted beside them.

A checkpoint and an adapter are sealed before they take their place. What is cut short, changed or gone is seen before
anything is made of it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from pmd_agent.runs.files import to_json

SEAL = "checksums"
"""The file's name: not one of those that other programs look for in an adapter's folder."""
_BLOCK = 1 << 20


def seal(folder: Path) -> None:
    """Note what is in the folder now, in place of what was noted before."""
    (folder / SEAL).unlink(missing_ok=True)
    found = {str(path.relative_to(folder)): _mark(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / SEAL).write_bytes(to_json(found, indent=2))


def damage(folder: Path) -> str:
    """What is wrong with it, in a few words; empty where nothing is. Of one that has no seal, what its files themselves say."""
    if not folder.is_dir():
        return "it is missing"
    if not (folder / SEAL).is_file():
        return next((reason for path in sorted(folder.rglob("*")) if (reason := _unreadable(path))), "")
    try:
        noted: dict[str, Any] = json.loads((folder / SEAL).read_bytes())
        return next((reason for name, mark in noted.items() if (reason := _changed(folder / name, name, *mark))), "")
    except (OSError, ValueError, TypeError, AttributeError):
        return f"{SEAL} cannot be read"


def _mark(path: Path) -> tuple[int, int]:
    """Size, and CRC-32: against accidents, not against forgery."""
    size = check = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            size, check = size + len(block), zlib.crc32(block, check)
    return size, check


def _changed(path: Path, name: str, size: int, check: int) -> str:
    if not path.is_file():
        return f"{name} is missing"
    if (there := path.stat().st_size) != size:
        return f"{name} has {there} of {size} bytes" if there < size else f"{name} has {there} bytes, not {size}"
    return "" if _mark(path) == (size, check) else f"{name} is not what was written"


def _unreadable(path: Path) -> str:
    """Of a file that earlier releases wrote."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".pt":
            with zipfile.ZipFile(path) as parts:
                broken = parts.testzip()
            return f"{path.name} is not what was written" if broken else ""
    except (OSError, ValueError, zipfile.BadZipFile):
        return f"{path.name} cannot be read"
    return ""
