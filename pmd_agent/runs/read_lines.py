"""Files of JSON Lines in a run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pmd_agent.errors import RunError


def read_lines(path: Path, *, whole: bool = True) -> Iterator[dict[str, Any]]:
    """A row a line; nothing where there is no file. Raises RunError for a line that is none, and names it.

    Not `whole`: what follows the last line's end is still being written, and left out.
    """
    if not path.is_file():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines if whole else lines[:-1], 1):
        if not line and whole:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it holds no object")
        except ValueError as error:
            raise RunError(
                f"{path} is damaged: line {number}: {error}.",
                "Restore it from a copy, or start another run with --name NAME.",
            ) from None
        yield row
