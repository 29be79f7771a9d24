"""How fast a memory is, and how large: measured against bare Chroma on this machine.

    python -m tests.benchmarks.memory --entries 1000 --entries 10000

Vectors are given (384 numbers, drawn around a thousand topics, as texts lie), so that no embedder is measured. Bare
Chroma: one collection of the same vectors, metadata and configuration, upserts of the same size.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pmd_agent.console import Console
from pmd_agent.memory.backend.codec import metadata_of
from pmd_agent.memory.backend.collection import ROWS_PER_CALL, open_client, open_collection
from pmd_agent.memory.store import Memory
from pmd_agent.types import Behavior

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api.client import Client
    from numpy.typing import NDArray

DIMENSION = 384
QUERIES = 1_000
NEAREST = 3
"""Behaviors that each asks for."""
TOPICS = 1_000


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one piece of work."""

    wall: float
    cpu: float
    """Of all threads of this process: what a busy machine changes less."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one size."""

    entries: int
    written: Spent
    """All entries, and closing the folder, which keeps the index."""
    bare_written: Spent
    bytes_per_entry: float
    bare_bytes_per_entry: float
    opened: Spent
    """Opening the folder again in this process, and the first recall."""
    bare_opened: Spent
    """Opening and the first query of bare Chroma."""
    scanned: Spent
    """As `opened`, without the file of the index, as after a kill."""
    recalls: tuple[Spent, ...]
    """Those of `NEAREST` behaviors for one problem each."""
    found: float
    """Share of the truly nearest ones that they gave."""

    @property
    def ratio(self) -> float:
        """Write throughput to that of bare Chroma."""
        return self.bare_written.wall / self.written.wall

    @property
    def cpu_ratio(self) -> float:
        """The same in time of the processor."""
        return self.bare_written.cpu / self.written.cpu

    def recall(self, quantile: float) -> Spent:
        """A quantile of `recalls`, of each clock by itself."""
        import numpy as np

        walls, cpus = zip(*((each.wall, each.cpu) for each in self.recalls), strict=True)
        return Spent(float(np.quantile(walls, quantile)), float(np.quantile(cpus, quantile)))


class _Given:
    """The vector of a text is drawn from its hash: its topic's, and as far from it as makes two of a topic .67 alike.

    None is computed twice.
    """

    identity = f"bench dimension={DIMENSION}"
    dimension = DIMENSION

    def __init__(self) -> None:
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import zlib

        import numpy as np

        for text in texts:
            if text not in self._known:
                seed = zlib.crc32(text.encode())
                self._known[text] = _unit(_drawn(seed % TOPICS) + np.float32(0.7) * _drawn(TOPICS + seed))
        return np.stack([self._known[text] for text in texts])


def _drawn(seed: int) -> NDArray[np.float32]:
    import numpy as np

    return _unit(np.random.default_rng(seed).standard_normal(DIMENSION, dtype=np.float32))


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return cast("NDArray[np.float32]", vector / np.linalg.norm(vector))


def measure(folder: Path, entries: int) -> Result:
    """Fills `folder`, which must be empty, twice: as a memory and as bare Chroma."""
    embedder = _Given()
    behaviors = [
        Behavior(f"0/{i}", f"behavior_{i}", f"rule number {i} says what to do", "c", 1, (f"0/p{i}/s",), 0, 0)
        for i in range(entries)
    ]
    queries = [f"problem {i}" for i in range(QUERIES)]
    embedder.embed([*(b.text for b in behaviors), *queries])
    bare, kept = folder / "bare", folder / "memory"

    def fill_bare() -> None:
        client = open_client(bare)
        collection = open_collection(client, "bare")
        for start in range(0, entries, ROWS_PER_CALL):
            part = behaviors[start : start + ROWS_PER_CALL]
            collection.upsert(
                ids=[b.id for b in part],
                embeddings=list(embedder.embed([b.text for b in part])),
                metadatas=[metadata_of(b, step=0, position=i) for i, b in enumerate(part)],
                documents=[b.text for b in part],
            )
        client.close()

    def fill() -> None:
        with Memory.open(kept, embedder) as memory:
            memory.put("behavior", behaviors, [], step=0)

    def open_bare() -> Client:
        client = open_client(bare)
        open_collection(client, "bare").query(query_embeddings=embedder.embed(queries[:1]), n_results=NEAREST + 2)
        return client

    def open_again() -> Memory:
        memory = Memory.open(kept, embedder)
        memory.nearest_behaviors(queries[0], NEAREST)
        return memory

    _spent(lambda: Memory.ephemeral(embedder).close())  # what only the first use of Chroma pays
    bare_written, written = _spent(fill_bare), _spent(fill)
    gc.collect()
    gc.freeze()  # what is measured should not pay for looking through the benchmark's own 100,000 texts
    bare_opened, opened = _opening(open_bare), _opening(open_again)
    (kept / "index.json").unlink()
    scanned = _opening(open_again)
    with Memory.open(kept, embedder) as memory:
        memory.nearest_behaviors(queries[0], NEAREST)
        given_Q: list[set[str]] = []

        def recall(text: str) -> None:
            given_Q.append({b.id for b, _ in memory.nearest_behaviors(text, NEAREST)})

        recalls = tuple(_spent(partial(recall, text)) for text in queries)
    gc.unfreeze()
    return Result(
        entries=entries,
        written=written,
        bare_written=bare_written,
        bytes_per_entry=_size(kept) / entries,
        bare_bytes_per_entry=_size(bare) / entries,
        opened=opened,
        bare_opened=bare_opened,
        scanned=scanned,
        recalls=recalls,
        found=_share(given_Q, embedder.embed(queries), embedder.embed([b.text for b in behaviors])),
    )


def _share(given_Q: Sequence[set[str]], queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> float:
    """Of the `NEAREST` vectors nearest to each query, by comparing it with all, the share that was given."""
    import numpy as np

    nearest_Q = [{f"0/{i}" for i in np.argsort(-(vectors @ query))[:NEAREST]} for query in queries]
    return sum(len(near & given) for near, given in zip(nearest_Q, given_Q, strict=True)) / (NEAREST * len(queries))


def _spent(call: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def _opening(call: Callable[[], Client | Memory]) -> Spent:
    """Of opening alone, not of closing what was opened."""
    opened: list[Client | Memory] = []
    spent = _spent(lambda: opened.append(call()))
    opened[0].close()
    return spent


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def row(size: int, r: Result) -> dict[str, object]:
    """A line of the table."""
    middle, late = r.recall(0.5), r.recall(0.99)
    cold = {
        "open, recall s (cpu)": r.opened,
        "without index s (cpu)": r.scanned,
        "bare s (cpu)": r.bare_opened,
    }
    return {
        "entries": size,
        "recall p50 ms": f"{1000 * middle.wall:.1f}",
        "p99": f"{1000 * late.wall:.1f}",
        "p50 cpu": f"{1000 * middle.cpu:.1f}",
        "p99 cpu": f"{1000 * late.cpu:.1f}",
        "nearest found %": f"{100 * r.found:.1f}",
        "writes/s": f"{size / r.written.wall:.0f}",
        "of bare": f"{r.ratio:.2f}",
        "of bare cpu": f"{r.cpu_ratio:.2f}",
        "bytes": f"{r.bytes_per_entry:.0f}",
        "bare bytes": f"{r.bare_bytes_per_entry:.0f}",
    } | {name: f"{spent.wall:.2f} ({spent.cpu:.2f})" for name, spent in cold.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, action="append", help="sizes, one after the other (1000, 10000)")
    sizes = parser.parse_args().entries or [1_000, 10_000]
    if min(sizes) < 10:
        parser.error("--entries is 10 or more")
    console, rows = Console(), []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="pmd-bench-") as folder, console.stage(f"{size} entries"):
            rows.append(row(size, measure(Path(folder), size)))
    console.table(list(rows[0]), [list(each.values()) for each in rows])


if __name__ == "__main__":
    main()
