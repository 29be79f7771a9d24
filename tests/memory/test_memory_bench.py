"""The benchmark measures what it says, on little."""

from __future__ import annotations

from pathlib import Path

from pmd_agent.memory import Memory
from pmd_agent.memory.bench import QUERIES, _Given, measure


def test_it_fills_both_stores_and_times_them(tmp_path: Path) -> None:
    result = measure(tmp_path, 120)
    with Memory.open(tmp_path / "memory", _Given()) as memory:
        assert memory.counts()["behavior"] == 120 and QUERIES >= 100
    assert result.entries == 120 and result.ratio == result.written_per_second / result.bare_per_second
    assert 0 < result.median <= result.worst < 5 and result.bytes_per_entry > 4 * 384
