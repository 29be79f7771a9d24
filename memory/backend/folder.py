"""The folder a memory lives in: one owner at a time, and one embedder for ever.

In it: `lock`, held with flock for as long as the memory is open, names its owner; `memory.json`, the schema version and
the embedder; `chroma/`, Chroma's own files; `index.json`, which may be missing (index_file.py).
"""

from __future__ import annotations

import json
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_agent.errors import MemoryStoreError
from pmd_agent.runs.files import to_json, write_atomically
from pmd_agent.runs.plain_files import no_link, require_plain

if TYPE_CHECKING:
    from pmd_agent.memory.embedders import Embedder

SCHEMA = 1
"""Raised when a release can no longer read what an earlier one wrote."""


class FolderLock:
    """Exclusive ownership of a folder, given up by `release` or by the process's end, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Raises MemoryStoreError where somebody else (this very process included) holds the lock."""
        import fcntl

        require_plain(folder)
        self.folder = folder
        self._fd = no_link(str(folder / "lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            whose = f"process {owner}" + (" (this one)" if owner == str(os.getpid()) else "")
            raise MemoryStoreError(
                f"The memory at {folder} is in use by {whose}.",
                "Close it there, or wait until that run ends. `pmd memory` and `Run.memory()` read it meanwhile.",
            ) from None
        except BaseException:
            os.close(self._fd)
            raise
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)
        _held.add(self)

    def release(self) -> None:
        """Give the folder up. A second call does nothing."""
        # The file stays: were it deleted, two processes could each lock a file of that name.
        _held.discard(self)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def is_open_here(folder: Path) -> bool:
    """Whether this process has the memory in that folder open."""
    return any(lock.folder == folder.resolve() for lock in _held)


def _release_in_child() -> None:
    # A forked child shares the lock: left open there, it would outlive a killed owner.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)


def check_claim(where: str, noted: dict[str, Any], embedder: Embedder) -> None:
    """Whether what `noted` says of a store (schema, embedder) is what opens it. Raises MemoryStoreError."""
    mine = {"identity": embedder.identity, "dimension": embedder.dimension}
    schema, theirs = int(noted["schema"]), noted["embedder"]
    if schema != SCHEMA:
        raise MemoryStoreError(
            f"{where} was written with memory schema {schema}; this release reads schema {SCHEMA}.",
            "Open it with the release of pmd-agent that wrote it, or open an empty folder.",
        )
    if theirs != mine:
        raise MemoryStoreError(
            f"{where} holds vectors of the embedder {theirs}, and was opened with {mine}.",
            "Open it with the embedder that wrote it, or open an empty folder: their vectors cannot be compared.",
        )


def claim_for_embedder(folder: Path, embedder: Embedder) -> None:
    """Note whose vectors the folder holds, or check the note. Raises MemoryStoreError where they are another's."""
    note = folder / "memory.json"
    mine = {"identity": embedder.identity, "dimension": embedder.dimension}
    if not note.exists():
        if (folder / "chroma").exists():
            raise MemoryStoreError(
                f"{folder} holds a Chroma store but no memory.json: it cannot be told whose vectors it holds.",
                "Restore memory.json from a copy of the folder, or open an empty folder.",
            )
        write_atomically(note, to_json({"schema": SCHEMA, "embedder": mine}, indent=2))
        return
    try:
        check_claim(str(folder), json.loads(note.read_text("utf-8")), embedder)
    except (ValueError, KeyError, TypeError) as error:
        raise MemoryStoreError(
            f"{note} is damaged: {error}.", "Restore it from a copy of the folder, or open an empty folder."
        ) from error
