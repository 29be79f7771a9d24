"""The live tables and the archive together: what moves between them, and the way back.

A move adds to the one side before it takes from the other, so that a kill loses nothing; what a kill leaves on both
sides is settled at the next open in favour of the archive, and by `rollback` in favour of the step gone back to.
"""

from __future__ import annotations

import tempfile
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.errors import MemoryStoreError, PMDError
from pmd_agent.memory.backend.codec import Entry, key_of, metadata_of, tier_of, version_key
from pmd_agent.memory.backend.collection import (
    IndexedCollection,
    Near,
    Record,
    Row,
    open_client,
    open_collection,
    open_indexed,
)
from pmd_agent.memory.backend.folder import FolderLock, claim_for_embedder, is_open_here
from pmd_agent.memory.backend.index_file import IndexFile
from pmd_agent.memory.backend.ledger import Ledger
from pmd_agent.memory.backend.snapshot import Restless, copy_folder
from pmd_agent.memory.backend.writers import Writers
from pmd_agent.runs.plain_files import require_plain
from pmd_agent.text import readable
from pmd_agent.types import TIERS, Experience, Tier

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api.client import Client
    from numpy.typing import NDArray

    from pmd_agent.memory.embedders import Embedder

_EMBEDDED_CHARS = 2_000
"""As much of a row's text is embedded: long attempts are looked up by problem, and n-grams of 30 kB are not free."""

_REMEMBERED_VECTORS = 4_096


class TierStore:
    """Three live tables and one archive. Knows steps and moves, not what a strategy or a generation is."""

    def __init__(
        self, client: Client, embedder: Embedder, prefix: str, index: IndexFile | None = None, *, shared: bool = False
    ) -> None:
        """`prefix` leads the names of the collections. `shared`: other processes may write to them, too."""
        known = index.rows if index else {}
        self._writers = Writers(open_collection(client, f"{prefix}writers")) if shared else None
        self.live: dict[Tier, IndexedCollection] = {tier: open_indexed(client, prefix + tier, known) for tier in TIERS}
        self.archive = open_indexed(client, f"{prefix}archive", known)
        if index:
            index.tables = (*self.live.values(), self.archive)
        self.ledger = Ledger(open_collection(client, f"{prefix}ledger"))
        self._parts: tuple[IndexedCollection | Ledger, ...] = (*self.live.values(), self.archive, self.ledger)
        if self._writers is not None:
            for part in self._parts:
                part.on_change = self._writers.announce
        self._embedder = embedder
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        archived = self.archive.rows
        for table in self.live.values():
            rows = table.rows.items()
            table.delete([k for k, row in rows if k in archived or version_key(k, row.step) in archived])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, dimension): what the embedder says; what it said lately is not asked again."""
        import numpy as np

        texts = [readable(text[:_EMBEDDED_CHARS]) for text in texts]
        asked = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if asked:
            self._vectors.update(zip(asked, self._embedder.embed(asked), strict=True))
        found = [self._vectors[text] for text in texts]
        while len(self._vectors) > _REMEMBERED_VECTORS:
            self._vectors.popitem(last=False)
        return np.stack(found) if found else np.zeros((0, self._embedder.dimension), dtype=np.float32)

    def refresh(self) -> None:
        """Take in what other processes have written: for a store on a server."""
        if self._writers is not None and self._writers.others_wrote():
            for part in self._parts:
                part.reload()

    def settle(self) -> None:
        """Before closing an embedded store: make the next opening quick (`IndexedCollection.settle`)."""
        for table in (*self.live.values(), self.archive):
            table.settle()

    def row(self, key: str) -> Row | None:
        """The index's row, live or archived."""
        return next((table.rows[key] for table in (*self.live.values(), self.archive) if key in table.rows), None)

    def rows(self, tier: Tier) -> list[Row]:
        """A tier's rows, live and archived."""
        return [*self.live[tier].rows.values(), *(row for row in self.archive.rows.values() if row.tier == tier)]

    def entries(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Key -> entry, live or archived; keys that are not there are passed over."""
        keys = list(keys)
        found: dict[str, Entry] = {}
        for table in (*self.live.values(), self.archive):
            found |= table.entries(keys)
        return found

    def nearest(
        self, tier: Tier, texts_N: Sequence[str], k: int, *, least: float, vectors: bool = False
    ) -> list[list[tuple[Entry, Near]]]:
        """For each text up to `k` live entries with cosine similarity > 0 and >= `least`, best first."""
        table = self.live[tier]
        if k < 1 or not texts_N or not table.rows:
            return [[] for _ in texts_N]
        near_N = table.nearest(self.embed(texts_N), k, vectors=vectors)
        hits_N = [[hit for hit in hits if hit.similarity > 0 and hit.similarity >= least] for hits in near_N]
        return [[(hit.entry, hit) for hit in hits] for hits in hits_N]

    def records(self, entries: Sequence[Entry], *, step: int | None = None) -> list[Record]:
        """Rows to write. `step` is the step that writes them, where it is not the entries' own."""
        if not entries:
            return []
        vectors = self.embed([entry.text for entry in entries])
        records = []
        for i, (entry, vector) in enumerate(zip(entries, vectors, strict=True)):
            key = key_of(tier_of(entry), entry.id)
            known = self.row(key)
            written_by = entry.step if step is None else step
            metadata = metadata_of(entry, step=written_by, position=known.position if known else i)
            document = None if isinstance(entry, Experience) else readable(entry.text)
            records.append(Record(key, metadata, document, vector))
        return records

    def replace_live(
        self, tier: Tier, new: Sequence[Record], old: Collection[str], live: Collection[str], *, step: int
    ) -> None:
        """Write `new`. Of these and of the live keys `old`, those in `live` stay, and `step` retires the others.

        What `new` writes over, if another step wrote it, is archived as that step left it.
        """
        table = self.live[tier]
        leaving = table.records(key for key in old if key not in live)
        surplus = [record for record in new if record.key not in live]
        staying = [record for record in new if record.key in live]
        over = table.records(r.key for r in staying if r.key in table.rows and table.rows[r.key].step != step)
        self.archive.upsert([*(r.retired(step) for r in (*leaving, *surplus)), *(r.superseded(step) for r in over)])
        table.upsert(staying)
        table.delete([record.key for record in (*leaving, *surplus)])
        self.archive.delete([record.key for record in staying])

    def revive(self, keys: Iterable[str]) -> None:
        """From the archive back to live, as it was."""
        records_of: defaultdict[Tier, list[Record]] = defaultdict(list)
        for record in self.archive.records(keys):
            records_of[record.metadata["tier"]].append(record)
        for tier, records in records_of.items():
            self.live[tier].upsert([record.revived() for record in records])
            self.archive.delete([record.key for record in records])

    def rollback(self, next_step: int) -> None:
        """Delete what `next_step` or a later step wrote, revive what they retired."""
        for table in self.live.values():
            table.delete([key for key, row in table.rows.items() if row.step >= next_step])
        undone = {key: row for key, row in self.archive.rows.items() if (row.retired_at or 0) >= next_step}
        self.archive.delete([key for key, row in undone.items() if row.step >= next_step])
        self.revive([key for key, row in undone.items() if row.step < next_step])
        self.ledger.rollback(next_step)


def open_folder(path: Path, embedder: Embedder) -> tuple[TierStore, ExitStack]:
    """The tables in a folder, made where it is not there, and what to close. Raises MemoryStoreError."""
    path = path.resolve()
    with ExitStack() as opened:
        try:
            path.mkdir(parents=True, exist_ok=True)
            opened.callback(FolderLock(path).release)
            claim_for_embedder(path, embedder)
            index = IndexFile(path)
            opened.callback(index.write)
            client = open_client(path / "chroma")
            opened.callback(client.close)
            tables = TierStore(client, embedder, "", index)
            opened.callback(tables.settle)
            return tables, opened.pop_all()
        except PMDError:
            raise
        except Exception as error:
            raise MemoryStoreError(
                f"The memory at {path} cannot be opened: {error}",
                "Restore the folder from a copy, or name another one that can be written.",
            ) from error


def open_copy(path: Path, embedder: Embedder) -> tuple[TierStore, ExitStack]:
    """The tables of a folder in a copy of it, and what to close: the copy goes with it. Raises MemoryStoreError."""
    path = path.resolve()
    with ExitStack() as opened:
        # Chroma may have a file open a moment longer than its client.
        copy = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="pmd-memory-", ignore_cleanup_errors=True)))
        require_plain(path)
        try:
            copy_folder(path, copy / path.name, apart=is_open_here(path))
        except Restless:
            raise MemoryStoreError(f"The memory at {path} is being written without a pause.", "Try again.") from None
        except OSError as error:
            raise MemoryStoreError(
                f"The memory at {path} cannot be copied to be read: {error}",
                f"Reading takes room for a copy in {tempfile.gettempdir()}; TMPDIR names another place.",
            ) from error
        try:
            tables, closing = open_folder(copy / path.name, embedder)
        except MemoryStoreError as error:  # of the folder, not of the copy that nobody knows of
            raise MemoryStoreError(error.message.replace(str(copy / path.name), str(path)), error.hint) from None
        opened.enter_context(closing)
        return tables, opened.pop_all()


def open_in_ram(embedder: Embedder) -> tuple[TierStore, ExitStack]:
    """A store of its own in RAM, and what to close."""
    client = open_client(None)
    opened = ExitStack()
    opened.callback(client.close)
    # All ephemeral clients of a process share one database.
    prefix = f"{uuid.uuid4().hex}-"
    tables = TierStore(client, embedder, prefix)
    for name in (*TIERS, "archive", "ledger"):
        opened.callback(client.delete_collection, prefix + name)
    return tables, opened
