"""The index on file says what Chroma holds, or nothing; and Chroma is closed with nothing left to insert anew."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pmd_agent.memory import Memory
from pmd_agent.memory.backend import collection
from pmd_agent.memory.backend.collection import IndexedCollection, open_client
from pmd_agent.memory.backend.index_file import changes


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the collections that were scanned."""
    scanned: list[str] = []
    scan = IndexedCollection._read_index

    def noted(self: IndexedCollection) -> None:
        scanned.append(self._collection.name)
        scan(self)

    monkeypatch.setattr(IndexedCollection, "_read_index", noted)
    return scanned


@pytest.fixture
def whole(tmp_path: Path, make: SimpleNamespace) -> dict[str, Any]:
    """What a closed store in tmp_path holds."""
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        for step in range(6):
            make.write_step(memory, step)
        dumped: dict[str, Any] = make.dump(memory)
    return dumped


def test_a_closed_store_is_opened_without_a_scan(
    tmp_path: Path, make: SimpleNamespace, whole: dict[str, Any], scans: list[str]
) -> None:
    for _ in range(2):  # the second time after nothing but reading
        with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
            assert make.dump(memory) == whole
    assert scans == []
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        memory.rollback(3)
        rolled_back = make.dump(memory)
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        assert make.dump(memory) == rolled_back != whole
    assert scans == []


def test_a_store_that_was_not_closed_is_scanned(
    tmp_path: Path, make: SimpleNamespace, whole: dict[str, Any], scans: list[str]
) -> None:
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        make.write_step(memory, 6)
        shutil.copytree(tmp_path, tmp_path / "killed")  # as a kill would leave it, with the index of before
        written = make.dump(memory)
    assert (tmp_path / "killed" / "index.json").exists()
    with Memory.open(tmp_path / "killed", make.TinyEmbedder()) as memory:
        assert make.dump(memory) == written != whole
    assert scans == ["experience", "insight", "behavior", "archive"]


def test_what_others_wrote_is_seen(
    tmp_path: Path, make: SimpleNamespace, whole: dict[str, Any], scans: list[str]
) -> None:
    # As a release does that knows no index: the number of rows stays as it is, one of them is another.
    client = open_client(tmp_path / "chroma")
    key, (metadata, _, _) = next(iter(whole["insight"].items()))
    client.get_collection("insight", embedding_function=None).update([key], metadatas=[{**metadata, "position": 77}])
    client.close()
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        make.dump(memory)  # checks the index
        assert memory._store.live["insight"].rows[key].position == 77
    assert len(scans) == 4


@pytest.mark.parametrize(
    "damaged",
    [
        lambda noted: "",
        lambda noted: json.dumps(noted)[:-9],
        lambda noted: "[]",
        lambda noted: json.dumps({**noted, "format": 0}),
        lambda noted: json.dumps({**noted, "tables": {name: [["a"]] for name in noted["tables"]}}),
        lambda noted: json.dumps({**noted, "tables": {}}),
    ],
    ids=["empty", "cut", "not an index", "another format", "short rows", "no tables"],
)
def test_a_damaged_index_is_passed_over(
    tmp_path: Path,
    make: SimpleNamespace,
    whole: dict[str, Any],
    scans: list[str],
    damaged: Callable[[dict[str, Any]], str],
) -> None:
    index = tmp_path / "index.json"
    index.write_text(damaged(json.loads(index.read_text("utf-8"))), "utf-8")
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        assert make.dump(memory) == whole
    assert len(scans) == 4


def test_after_a_write_of_unknown_outcome_no_index_is_kept(
    tmp_path: Path, make: SimpleNamespace, scans: list[str]
) -> None:
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        upsert = memory._store.live["experience"]._collection.upsert

        def taken_but_failed(**rows: Any) -> None:
            upsert(**rows)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(memory._store.live["experience"], "_collection", SimpleNamespace(upsert=taken_but_failed))
            memory.add_experiences([make.experience("3/p/0")])
        memory.add_experiences([make.experience("3/p/1")])
    scans.clear()
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        assert [e.id for e in memory.experiences("p")] == ["3/p/0", "3/p/1"]
    assert len(scans) == 4


def test_only_a_header_that_counts_is_believed(tmp_path: Path) -> None:
    database, seen = tmp_path / "some.sqlite3", []
    assert changes(database) is None
    connection = sqlite3.connect(database)
    for statement in ("create table t (x)", "insert into t values (1)", "update t set x = 2"):
        with connection:
            connection.execute(statement)
        seen.append(changes(database))
    assert None not in seen and len(set(seen)) == 3
    journal = tmp_path / "some.sqlite3-journal"
    journal.touch()
    assert changes(database) is None
    journal.unlink()
    connection.execute("pragma journal_mode=wal")
    connection.close()
    assert changes(database) is None


def test_chroma_has_nothing_to_insert_anew(
    tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_SYNC", 50)
    monkeypatch.setitem(collection._SPACE["hnsw"], "sync_threshold", 50)

    def left_to_insert(folder: Path) -> int:
        with closing(sqlite3.connect(folder / "chroma" / "chroma.sqlite3")) as connection:
            # Chroma always keeps the newest record of its log.
            return int(connection.execute("select count(*) from embeddings_queue").fetchone()[0]) - 1

    def fill(folder: Path) -> dict[str, Any]:
        with Memory.open(folder, make.TinyEmbedder()) as memory:
            memory.add_experiences([make.experience(f"3/p/{i}") for i in range(130)])
            dumped: dict[str, Any] = make.dump(memory)
        return dumped

    filled = fill(tmp_path / "settled")
    assert left_to_insert(tmp_path / "settled") == 0
    with Memory.open(tmp_path / "settled", make.TinyEmbedder()) as memory:
        assert make.dump(memory) == filled
        assert [e.id for _, e, _ in memory.search("the attempt 3/p/77", "experience", 1)] == ["3/p/77"]
    monkeypatch.setattr(IndexedCollection, "settle", lambda self: None)
    fill(tmp_path / "not")
    assert left_to_insert(tmp_path / "not") > 0
