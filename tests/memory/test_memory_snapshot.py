"""A memory that another process writes, read in a copy of one moment."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.memory.backend import snapshot
from pmd_agent.types import Behavior, Experience

ROWS = 60
SYNCED = 1_000
"""Rows from which Chroma has written its vector index to disk at least once."""
WRITER = """
import os, sys, time
from pathlib import Path
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.types import Behavior, Experience

folder, rows, s = Path(sys.argv[1]), int(sys.argv[2]), 0
with Memory.open(folder / "memory", HashingEmbedder(64)) as memory:
    while not (folder / "stop").exists():
        memory.add_experiences([Experience(f"{s}/p{i}/0", f"p{i}", f"attempt {i} of {s}", 1.0, True, "", "B", s, s) for i in range(rows)])
        memory.replace_behaviors([Behavior(f"{s}/b0", f"behavior_{s}", f"The rule number {s} of all.", "c", 1, (), s, s)], s)
        s += 1
        (folder / "state.tmp").write_text(str(s))
        os.replace(folder / "state.tmp", folder / "state")
        print(s, flush=True)
        time.sleep(0.2)  # attempts are sampled
"""


def test_every_copy_is_the_last_commit_whole(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(ROWS)], stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"1\n"
    seen = [0]
    try:
        while len(seen) < 5 or seen[-1] * ROWS < SYNCED:
            assert writer.poll() is None
            next_step = int((tmp_path / "state").read_text())
            if next_step == seen[-1]:
                continue
            with Memory.snapshot(tmp_path / "memory", HashingEmbedder(64), next_step) as memory:
                assert memory.counts()["experience"] == ROWS * next_step
                assert [b.id for b in memory.behaviors()] == [f"{next_step - 1}/b0"]
                (hit,) = memory.search("attempt 7 of 0", "experience", 1)
                assert hit[1].id == "0/p7/0" and hit[2] == pytest.approx(1.0)
            seen.append(next_step)
        (tmp_path / "stop").touch()
        assert writer.wait(60) == 0
    finally:
        writer.kill()
        writer.communicate()
    with Memory.open(tmp_path / "memory", HashingEmbedder(64)) as memory:
        assert memory.counts()["experience"] >= ROWS * seen[-1], "the reading has disturbed nothing"


def remember(folder: Path) -> None:
    with Memory.open(folder, HashingEmbedder(64)) as memory:
        memory.add_experiences([Experience("0/p/0", "p", "an attempt", 1.0, True, "", "B", 0, 0)])
        memory.replace_behaviors([Behavior("0/b0", "behavior_a", "A rule.", "c", 1, (), 0, 0)], 0)


KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN EXCLUSIVE")
database.execute("UPDATE embedding_metadata SET string_value = 'broken'")
database.execute("CREATE TABLE big AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 5000) SELECT randomblob(500) FROM c")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_interrupted_is_mended_in_the_copy_alone(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    remember(folder)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder / "chroma" / "chroma.sqlite3")])
    assert done.returncode == -signal.SIGKILL and (folder / "chroma" / "chroma.sqlite3-journal").stat().st_size
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with Memory.snapshot(folder, HashingEmbedder(64), 1) as memory:
        assert [b.text for b in memory.behaviors()] == ["A rule."]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_copy_goes_and_the_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(tmp_path / "memory")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with Memory.snapshot(tmp_path / "memory", HashingEmbedder(64), 1) as memory:
        assert list((tmp_path / "tmp").iterdir())
        memory.replace_behaviors([], 1)
        assert memory.behaviors() == []
    assert not list((tmp_path / "tmp").iterdir())
    with Memory.snapshot(tmp_path / "memory", HashingEmbedder(64), 0) as memory:
        assert memory.counts() == dict.fromkeys(memory.counts(), 0), "before its first step there was nothing"
    with Memory.snapshot(tmp_path / "memory", HashingEmbedder(64), 1) as memory:
        assert len(memory.behaviors()) == 1


def test_another_embedder_is_refused(tmp_path: Path) -> None:
    remember(tmp_path / "memory")
    with pytest.raises(MemoryStoreError, match="holds vectors of the embedder"):
        Memory.snapshot(tmp_path / "memory", HashingEmbedder(32), 1)


def test_a_folder_without_a_pause_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "memory"
    source.mkdir()
    (source / "file").write_text("0")
    copies = []

    def copy_and_write(*arguments: Any) -> None:
        copy(*arguments)
        copies.append(1)
        (source / "file").write_text(str(len(copies)) * len(copies))

    copy = snapshot._copy
    monkeypatch.setattr(snapshot, "_copy", copy_and_write)
    with pytest.raises(snapshot.Restless, match="changes all the time"):
        snapshot.copy_folder(source, tmp_path / "copy", patience=0.3)
    assert copies
    monkeypatch.undo()
    for apart in (False, True):
        snapshot.copy_folder(source, tmp_path / "copy", apart=apart)
        assert (tmp_path / "copy" / "file").read_text() == (source / "file").read_text()
        assert [path.name for path in (tmp_path / "copy").iterdir()] == ["file"]
        (source / "file").write_text("other")


def test_a_folder_that_cannot_be_copied_says_so(tmp_path: Path) -> None:
    for apart in (False, True):
        (tmp_path / "file").touch()
        (tmp_path / "memory").mkdir(exist_ok=True)
        (tmp_path / "memory" / "a").touch()
        with pytest.raises(OSError):
            snapshot.copy_folder(tmp_path / "memory", tmp_path / "file" / "below", apart=apart)


def test_damage_is_told_of_the_folder_and_not_of_its_copy(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    Memory.open(folder, HashingEmbedder(64)).close()
    for name, content in (("memory.json", b""), ("chroma/chroma.sqlite3", b"SQLite format 3\0" + b"x" * 5000)):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(MemoryStoreError) as caught:
            Memory.snapshot(folder, HashingEmbedder(64), 0)
        assert str(folder) in caught.value.message and "pmd-memory-" not in caught.value.message
        (folder / name).write_bytes(whole)
