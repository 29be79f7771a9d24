"""Counts of writes, one a process: by them a process that shares a memory sees that its index is stale."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

_VECTOR: list[Sequence[float]] = [[1.0]]


class Writers:
    """A row for each process that has written, with its count of writes, in a collection of its own."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._me = uuid.uuid4().hex
        self._writes = 0
        # Before anything is read: what is written meanwhile is read twice, not missed.
        self._seen = self._counts()

    def announce(self) -> None:
        """Say that this process has written."""
        self._writes += 1
        self._collection.upsert(ids=[self._me], embeddings=list(_VECTOR), metadatas=[{"writes": self._writes}])

    def others_wrote(self) -> bool:
        """Whether another process has, since the last call."""
        seen, self._seen = self._seen, self._counts()
        return seen != self._seen

    def _counts(self) -> dict[str, int]:
        found = self._collection.get(include=["metadatas"])
        rows = zip(found["ids"], found["metadatas"] or [], strict=True)
        return {name: int(str(row["writes"])) for name, row in rows if name != self._me}
