"""The index of the tables as a file, `index.json` beside Chroma's folder, so that opening a large memory needs no scan.

SQLite counts in its header the transactions that changed the database, whoever made them. The file notes that count and
says nothing once the database shows another: after a kill, after work with Chroma's own tools, after writes of a release
that does not know the file. Then, as where there is no file or a damaged one, the tables are scanned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_agent.memory.backend.collection import Row
from pmd_agent.runs.files import write_atomically

if TYPE_CHECKING:
    from pmd_agent.memory.backend.collection import IndexedCollection

FORMAT = 1
"""Raised with any change of what the file holds; a file of another format is passed over."""


class IndexFile:
    """Read before Chroma opens the folder, which is a transaction already; written after Chroma has closed it."""

    def __init__(self, folder: Path) -> None:
        """Reads the file if it is of what the database holds now, and removes it if it is not."""
        self._path, self._database = folder / "index.json", folder / "chroma" / "chroma.sqlite3"
        self.tables: Sequence[IndexedCollection] = ()
        """Whose index `write` keeps."""
        self.rows: dict[str, dict[str, Row]] = {}
        """Collection's id -> key -> row; empty where a scan has to find them."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            noted = json.loads(self._path.read_text("utf-8"))
            if noted["format"] == FORMAT and noted["changes"] == changes(self._database):
                self.rows = {table: {key: Row(*row) for key, *row in rows} for table, rows in noted["tables"].items()}
                return
        self._path.unlink(missing_ok=True)

    def write(self) -> None:
        """Keep the index, unless it is not certain: a write that failed may have reached Chroma all the same."""
        count = changes(self._database)
        if not self.tables or count is None or not all(table.certain for table in self.tables):
            return
        rows = {table.id: [(key, *_flat(row)) for key, row in table.rows.items()] for table in self.tables}
        # Without the file the next opening takes longer; that is no reason to fail here, on a full disk for instance.
        with suppress(OSError):
            write_atomically(self._path, json.dumps({"format": FORMAT, "changes": count, "tables": rows}).encode())


def changes(database: Path) -> int | None:
    """How many transactions have changed an SQLite file, modulo 2^32; None where its header does not tell."""
    try:
        with database.open("rb") as file:
            header = file.read(100)
    except OSError:
        return None
    # In WAL mode, 2 in place of 1, the count is not kept. A journal is what an interrupted transaction leaves.
    counted = header[:16] == b"SQLite format 3\x00" and header[18:20] == b"\x01\x01"
    interrupted = database.with_name(f"{database.name}-journal").exists()
    return int.from_bytes(header[24:28], "big") if counted and not interrupted else None


def _flat(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, field.name) for field in fields(row))
