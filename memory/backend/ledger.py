"""One record a step: who was read, what trials showed, which problems were solved, states, clusters; a collection of its own.

Entries say what was written; the ledger says how it fared. How memories stand (effects.py) is computed from these records, so
going back to a step is deleting the later ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pmd_agent.memory.backend.codec import escape, unescape

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

Record = dict[str, Any]
_VECTOR: list[Sequence[float]] = [[1.0]]


class Ledger:
    """Step -> record, whole in RAM and on Chroma."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self.on_change: Callable[[], None] = lambda: None
        """Called after each write."""
        self.records: dict[int, Record] = {}
        """In the order of steps. Read only: `note` writes."""
        self.changes = 0
        """Counts what changed, so that what is computed from the records knows when it is stale."""
        self.reload()

    def reload(self) -> None:
        """Take in what other processes have noted."""
        found = self._collection.get(include=["metadatas"])["metadatas"] or []
        rows = [(int(str(row["step"])), str(row["record"])) for row in found]
        self.records = {step: json.loads(unescape(packed)) for step, packed in sorted(rows)}
        self.changes += 1

    def note(self, step: int, **parts: Any) -> None:
        """Add parts (of JSON) to a step's record; one that is there already is replaced."""
        record = {**self.records.get(step, {}), **parts}
        packed = escape(json.dumps(record, ensure_ascii=False))
        self._collection.upsert(ids=[str(step)], embeddings=list(_VECTOR), metadatas=[{"step": step, "record": packed}])
        # What was written, not what was given: a reopened ledger must say the same.
        self.records[step] = json.loads(unescape(packed))
        self.records = dict(sorted(self.records.items()))
        self.changes += 1
        self.on_change()

    def rollback(self, next_step: int) -> None:
        """Forget what `next_step` and later ones noted."""
        late = [step for step in self.records if step >= next_step]
        if not late:
            return
        self._collection.delete(ids=[str(step) for step in late])
        for step in late:
            del self.records[step]
        self.changes += 1
        self.on_change()

    def latest(self, part: str) -> Mapping[str, Any]:
        """A part as the newest step that noted it left it; empty where none did."""
        return next((record[part] for record in reversed(self.records.values()) if part in record), {})
