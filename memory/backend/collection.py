"""One Chroma collection, and the small index of it that stays in RAM.

Chroma's `where` filter is slow (tens of ms at 10k rows) and `get` by id is not (1 ms): so rows are found through an
index from problem to ids, read from a file (index_file.py) or built by one scan when the store is opened, and kept up to
date by every write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pmd_agent.memory.backend.codec import Entry, Metadata, decode, live_key, natural, version_key
from pmd_agent.types import Tier

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection
    from numpy.typing import NDArray

ROWS_PER_CALL = 100
"""Chroma is fastest with about this many rows in one call."""
_BOUND = 30_000
"""Chroma reads the rows that a call has found in one statement, and SQLite takes 32,766 values in one."""
_SYNC = 1_000
"""Chroma writes its vector index to disk once in so many rows (its own default, too)."""
_SPACE = {"hnsw": {"space": "cosine", "ef_construction": 200, "ef_search": 100, "sync_threshold": _SYNC}}


@dataclass(frozen=True, slots=True)
class Record:
    """All of one row."""

    key: str
    metadata: Metadata
    document: str | None
    """None for experiences: a full-text index of long attempts is 4 times slower to write and 3 times larger."""
    embedding: NDArray[np.float32]
    """(dimension,)"""

    def retired(self, step: int) -> Record:
        """The same, as the archive holds it."""
        return Record(self.key, {**self.metadata, "retired_at": step}, self.document, self.embedding)

    def superseded(self, step: int) -> Record:
        """The same, as the archive holds it while `step` has written the entry anew."""
        return replace(self.retired(step), key=version_key(self.key, self.metadata["step"]))

    def revived(self) -> Record:
        """The same, as it was when it was live."""
        alive = {name: value for name, value in self.metadata.items() if name != "retired_at"}
        return Record(live_key(self.key), alive, self.document, self.embedding)


@dataclass(frozen=True, slots=True)
class Row:
    """What the index keeps of one row."""

    tier: Tier
    step: int
    position: int
    problem: str
    """Escaped; empty for behaviors."""
    kind: str
    retired_at: int | None

    @classmethod
    def of(cls, metadata: Metadata) -> Row:
        """Reads the flat fields."""
        return cls(
            tier=metadata["tier"],
            step=metadata["step"],
            position=metadata["position"],
            problem=metadata["problem_id"],
            kind=metadata["kind"],
            retired_at=metadata.get("retired_at"),
        )


@dataclass(frozen=True, slots=True)
class Near:
    """A row that a query found."""

    key: str
    similarity: float
    """Cosine."""
    metadata: Metadata
    embedding: NDArray[np.float32]
    """(dimension,); (0,) where vectors were not asked for."""

    @property
    def entry(self) -> Entry:
        """What the row holds."""
        return decode(self.metadata["tier"], self.metadata["entry"])

    @property
    def like(self) -> float:
        """The similarity without the digits in which one vector differs from itself."""
        return round(self.similarity, 5)


class IndexedCollection:
    """One collection with cosine space. Not safe for several threads."""

    def __init__(self, collection: Collection, known: Mapping[str, Row] | None = None) -> None:
        """`known`: all of its rows by key; where it is None they are scanned for."""
        self._collection = collection
        self.id = str(collection.id)
        self.rows: dict[str, Row] = {}
        """Key -> row."""
        self.certain = True
        """Whether `rows` is what the collection holds: false for good once a write has failed."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after each write."""
        self._settled = known is not None
        self._keys_of: defaultdict[str, set[str]] = defaultdict(set)
        if known is None:
            self._read_index()
        else:
            self._note(known, known.values())

    def reload(self) -> None:
        """Take in what other processes have written to the same collection since."""
        self.rows.clear()
        self._keys_of.clear()
        self._read_index()

    def _read_index(self) -> None:
        for keys in _batches(self._collection.get(include=[])["ids"]):
            found = self._collection.get(ids=keys, include=["metadatas"])
            self._note(found["ids"], [Row.of(cast(Metadata, metadata)) for metadata in found["metadatas"] or []])

    def settle(self) -> None:
        """Before closing: have Chroma write its whole vector index to disk.

        What came after the last time it did, it would insert anew at the first read after every opening: 999 rows of
        50,000 took 2 s of work, of however many seconds the machine needs for that.
        """
        if self.certain and not self._settled and len(self.rows) > _SYNC:
            # Deleting what is not there counts as writing a row. No key begins like this.
            self._collection.delete(ids=[f"none/{i}" for i in range(_SYNC)])
            self._settled = True

    def newest_first(self, keys: Iterable[str]) -> list[str]:
        """By step, newest first; within a step in the order written."""
        return sorted(keys, key=lambda key: (-self.rows[key].step, self.rows[key].position, natural(key)))

    def of_problem(self, problem: str) -> list[str]:
        """Keys of an (escaped) problem, newest first."""
        return self.newest_first(self._keys_of.get(problem, ()))

    def upsert(self, records: Sequence[Record]) -> None:
        """Write rows, new or anew."""
        for batch in _batches(records):
            documents = [record.document for record in batch if record.document is not None]
            with self._changing():
                self._collection.upsert(
                    ids=[record.key for record in batch],
                    embeddings=[record.embedding for record in batch],
                    metadatas=[record.metadata for record in batch],
                    documents=documents or None,
                )
                self._note([record.key for record in batch], [Row.of(record.metadata) for record in batch])

    def delete(self, keys: Iterable[str]) -> None:
        """Remove rows; keys that are not there are passed over."""
        for batch in _batches([key for key in keys if key in self.rows]):
            with self._changing():
                self._collection.delete(ids=batch)
                for key in batch:
                    self._keys_of[self.rows.pop(key).problem].discard(key)

    def records(self, keys: Iterable[str]) -> list[Record]:
        """Whole rows, in no particular order; keys that are not there are passed over."""
        records: list[Record] = []
        for batch in _batches([key for key in keys if key in self.rows]):
            found = cast(Any, self._collection.get(ids=batch, include=["metadatas", "documents", "embeddings"]))
            rows = zip(found["ids"], found["metadatas"], found["documents"], found["embeddings"], strict=True)
            records += [Record(*row) for row in rows]
        return records

    def entries(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Key -> entry; keys that are not there are passed over."""
        entries: dict[str, Entry] = {}
        for batch in _batches([key for key in keys if key in self.rows]):
            # Chroma answers in its own order, not in the order asked.
            found = cast(Any, self._collection.get(ids=batch, include=["metadatas"]))
            for key, metadata in zip(found["ids"], found["metadatas"], strict=True):
                entries[key] = decode(metadata["tier"], metadata["entry"])
        return entries

    def nearest(self, embeddings_N: NDArray[np.float32], k: int, *, vectors: bool = False) -> list[list[Near]]:
        """For each (N, dimension) vector up to k rows, best first; equals by age, then by key.

        With `vectors` their embeddings, too, which takes Chroma nearly as long as the search.
        """
        if not self.rows or k < 1 or not len(embeddings_N):
            return [[] for _ in embeddings_N]
        # Some more than k are asked for, and many where the last of them is as near as the k-th, so that who is in is
        # hardly ever decided by Chroma's own order of equals.
        found_N = self._query(embeddings_N, k + 2, vectors)
        again = [i for i, found in enumerate(found_N) if _cut(found, k) and k + 2 < len(self.rows)]
        for i, found in zip(again, self._query(embeddings_N[again], 2 * k + 20, vectors), strict=True):
            found_N[i] = found
        return [self._best(found, k) for found in found_N]

    def _query(self, embeddings_N: NDArray[np.float32], n: int, vectors: bool) -> list[list[Near]]:
        """The n rows nearest to each, nearest first, those left out that the index does not know."""
        import numpy as np

        n = min(n, len(self.rows), _BOUND)
        wanted = ["distances", "metadatas", *(["embeddings"] if vectors else [])]
        none = np.zeros(0, dtype=np.float32)
        found_N: list[list[Near]] = []
        for part in _batches(embeddings_N, _BOUND // n):
            found = cast(Any, self._collection.query(query_embeddings=part, n_results=n, include=wanted))  # type: ignore[arg-type]
            near_vectors = found["embeddings"] if vectors else [[none] * len(keys) for keys in found["ids"]]
            rows = zip(found["ids"], found["distances"], found["metadatas"], near_vectors, strict=True)
            for of in rows:
                each = zip(*of, strict=True)
                found_N.append([Near(key, 1.0 - far, row, v) for key, far, row, v in each if key in self.rows])
        return found_N

    def _best(self, found: Sequence[Near], k: int) -> list[Near]:
        least = min((each.like for each in found[:k]), default=0.0)
        near = [each for each in found if each.like >= least]
        place = {key: i for i, key in enumerate(self.newest_first(each.key for each in near))}
        return sorted(near, key=lambda each: (-each.like, place[each.key]))[:k]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        certain, self.certain, self._settled = self.certain, False, False
        yield
        self.certain = certain
        self.on_change()

    def _note(self, keys: Iterable[str], rows: Iterable[Row]) -> None:
        for key, row in zip(keys, rows, strict=True):
            if key in self.rows:
                self._keys_of[self.rows[key].problem].discard(key)
            self.rows[key] = row
            self._keys_of[row.problem].add(key)


def _cut(found: Sequence[Near], k: int) -> bool:
    """Whether there may be more that are as near as the k-th."""
    return len(found) <= k or found[-1].like == found[k - 1].like


def open_collection(client: Client, name: str) -> Collection:
    """The collection of that name, made where it is not there."""
    # Without embedding_function=None, Chroma sets up its default one, which wants to download a model.
    return client.get_or_create_collection(name, embedding_function=None, configuration=cast(Any, _SPACE))


def open_indexed(client: Client, name: str, known: Mapping[str, Mapping[str, Row]]) -> IndexedCollection:
    """The collection of that name with its index; `known`: of some collections, by id, all rows."""
    collection = open_collection(client, name)
    return IndexedCollection(collection, known.get(str(collection.id)))


def open_client(path: Path | None) -> Client:
    """Chroma in this process: on disk at `path`, or in RAM where it is None."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    if path is None:
        return cast("Client", chromadb.EphemeralClient(settings=settings))
    return cast("Client", chromadb.PersistentClient(path=str(path), settings=settings))


def _batches(items: Sequence[Any] | NDArray[np.float32], size: int = ROWS_PER_CALL) -> Iterator[Any]:
    return (items[start : start + size] for start in range(0, len(items), size))
