"""The benchmark measures what it says, on little."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pmd_agent.memory import Memory
from tests.benchmarks.memory import QUERIES, _Given, _share, measure


def test_what_recall_misses_is_counted() -> None:
    vectors = np.eye(8, dtype=np.float32)
    query = np.array([[0, 0, 0.1, 0, 0.9, 0, 0.5, 0]], dtype=np.float32)
    assert _share([{"0/4", "0/6", "0/2"}], query, vectors) == 1.0
    assert _share([{"0/4", "0/5"}], query, vectors) == 1 / 3


def test_it_fills_both_stores_and_times_them(tmp_path: Path) -> None:
    result = measure(tmp_path, 120)
    with Memory.open(tmp_path / "memory", _Given()) as memory:
        assert memory.counts()["behavior"] == 120 and QUERIES >= 100
    assert result.entries == 120 and result.ratio == result.bare_written.wall / result.written.wall
    assert result.bytes_per_entry > 4 * 384 and len(result.recalls) == QUERIES
    assert result.found == 1.0
    middle, late = result.recall(0.5), result.recall(0.99)
    assert 0 < middle.wall <= late.wall < 5 and 0 < middle.cpu <= late.cpu
    assert all(each.wall > 0 and each.cpu > 0 for each in (result.opened, result.scanned, result.bare_opened))
