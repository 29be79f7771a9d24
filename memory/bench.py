"""How fast a memory is, and how large: measured against bare Chroma on this machine.

Vectors are given (drawn at random, 384 numbers), so that no embedder is measured. Bare Chroma: one collection of the same
vectors, metadata and configuration, upserts of the same size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.memory.codec import metadata_of
from pmd_agent.memory.store import Memory
from pmd_agent.memory.table import ROWS_PER_CALL, open_client, open_collection
from pmd_agent.types import Behavior

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMENSION = 384
QUERIES = 200


@dataclass(frozen=True, slots=True)
class Result:
    """Of one size. Times in seconds."""

    entries: int
    written_per_second: float
    bare_per_second: float
    bytes_per_entry: float
    bare_bytes_per_entry: float
    opened: float
    """Opening the folder again in this process, the index read."""
    first: float
    """The first recall after that."""
    bare_first: float
    """Opening and the first query of bare Chroma."""
    median: float
    """Of a recall of three behaviors for one problem."""
    worst: float
    """Its 99th percentile."""

    @property
    def ratio(self) -> float:
        """Write throughput to that of bare Chroma."""
        return self.written_per_second / self.bare_per_second


class _Given:
    """The vector of a text is drawn from its hash; none is computed twice."""

    identity = f"bench dimension={DIMENSION}"
    dimension = DIMENSION

    def __init__(self) -> None:
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import zlib

        import numpy as np

        for text in texts:
            if text not in self._known:
                vector = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSION, dtype=np.float32)
                self._known[text] = vector / np.linalg.norm(vector)
        return np.stack([self._known[text] for text in texts])


def measure(folder: Path, entries: int) -> Result:
    """Fills `folder`, which must be empty, twice: as a memory and as bare Chroma."""
    import numpy as np

    embedder = _Given()
    behaviors = [
        Behavior(f"0/{i}", f"behavior_{i}", f"rule number {i} says what to do", "c", 1, (f"0/p{i}/s",), 0, 0)
        for i in range(entries)
    ]
    queries = [f"problem {i}" for i in range(QUERIES)]
    embedder.embed([*(b.text for b in behaviors), *queries])

    bare = folder / "bare"
    client = open_client(bare)
    collection = open_collection(client, "bare")
    started = time.perf_counter()
    for start in range(0, entries, ROWS_PER_CALL):
        part = behaviors[start : start + ROWS_PER_CALL]
        collection.upsert(
            ids=[b.id for b in part],
            embeddings=list(embedder.embed([b.text for b in part])),
            metadatas=[metadata_of(b, step=0, position=i) for i, b in enumerate(part)],
            documents=[b.text for b in part],
        )
    bare_seconds = time.perf_counter() - started
    client.close()

    kept = folder / "memory"
    with Memory.open(kept, embedder) as memory:
        started = time.perf_counter()
        memory.put("behavior", behaviors, [], step=0)
        seconds = time.perf_counter() - started

    started = time.perf_counter()
    client = open_client(bare)
    open_collection(client, "bare").query(query_embeddings=embedder.embed(queries[:1]), n_results=26)
    bare_first = time.perf_counter() - started
    client.close()

    opened = _seconds(lambda: Memory.open(kept, embedder).close())
    started = time.perf_counter()
    with Memory.open(kept, embedder) as memory:
        again = time.perf_counter()
        memory.nearest_behaviors(queries[0], 3)
        first = time.perf_counter() - again
        times = [_seconds(lambda text=text: memory.nearest_behaviors(text, 3)) for text in queries]  # type: ignore[misc]
    return Result(
        entries=entries,
        written_per_second=entries / seconds,
        bare_per_second=entries / bare_seconds,
        bytes_per_entry=_size(kept) / entries,
        bare_bytes_per_entry=_size(bare) / entries,
        opened=opened,
        first=first,
        bare_first=bare_first,
        median=statistics.median(times),
        worst=float(np.quantile(times, 0.99)),
    )


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
