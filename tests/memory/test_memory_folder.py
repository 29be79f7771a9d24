"""One owner, one embedder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.memory.backend.folder import FolderLock

OPEN = """
import sys
from pathlib import Path
from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory import HashingEmbedder, Memory
try:
    Memory.open(Path(sys.argv[1]), HashingEmbedder(64)).close()
except MemoryStoreError as error:
    print(error.message, error.hint, sep="|", end="")
"""
FORK = """
import os, sys, time
from pathlib import Path
from pmd_agent.memory.backend.folder import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if not os.fork():
    print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_another_process_is_refused(memory: Memory, tmp_path: Path, make: SimpleNamespace) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "memory")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=make.env).stdout
    message, hint = said.split("|")
    assert f"process {os.getpid()}" in message
    assert "Close it" in hint
    assert "read it meanwhile" in hint
    memory.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=make.env).stdout == ""


def test_this_process_is_refused_a_second_time(memory: Memory, tmp_path: Path, make: SimpleNamespace) -> None:
    for same_folder in (tmp_path / "memory", tmp_path / "memory" / ".." / "memory"):
        with pytest.raises(MemoryStoreError, match=rf"process {os.getpid()} \(this one\)"):
            Memory.open(same_folder, HashingEmbedder(64))
    memory.add_experiences([make.experience()])  # the owner goes on
    memory.close()
    with Memory.open(tmp_path / "memory", HashingEmbedder(64)) as again:
        assert again.get("3/p/0") == make.experience()


def test_a_refused_open_leaves_the_folder_free(tmp_path: Path) -> None:
    Memory.open(tmp_path, HashingEmbedder(64)).close()
    with pytest.raises(MemoryStoreError):
        Memory.open(tmp_path, HashingEmbedder(32))
    Memory.open(tmp_path, HashingEmbedder(64)).close()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path, make: SimpleNamespace) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORK, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=make.env
    ) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        try:
            with pytest.raises(MemoryStoreError, match=f"process {owner.pid}"):
                FolderLock(tmp_path)
            owner.send_signal(signal.SIGKILL)
            owner.wait()
            FolderLock(tmp_path).release()
        finally:
            os.kill(child, signal.SIGKILL)
            owner.kill()


def test_a_copy_opens_beside_the_original(memory: Memory, tmp_path: Path, make: SimpleNamespace) -> None:
    make.write_step(memory, 1)
    shutil.copytree(tmp_path / "memory", tmp_path / "copy")
    with Memory.open(tmp_path / "copy", HashingEmbedder(64)) as copy:
        assert make.dump(copy) == make.dump(memory)


def test_a_replaced_folder_is_read_anew(tmp_path: Path, make: SimpleNamespace) -> None:
    with Memory.open(tmp_path / "memory", HashingEmbedder(64)) as memory:
        memory.add_experiences([make.experience()])
    shutil.rmtree(tmp_path / "memory")
    with Memory.open(tmp_path / "memory", HashingEmbedder(64)) as memory:
        assert memory.counts()["experience"] == 0


@pytest.mark.parametrize("other", [HashingEmbedder(32), "renamed"])
def test_another_embedder_is_refused(tmp_path: Path, other: HashingEmbedder | str) -> None:
    Memory.open(tmp_path, HashingEmbedder(64)).close()
    if isinstance(other, str):

        class Renamed(HashingEmbedder):
            identity = "the same size, another model"  # type: ignore[assignment]

        other = Renamed(64)
    with pytest.raises(MemoryStoreError, match="vectors of the embedder") as refused:
        Memory.open(tmp_path, other)
    assert str(other.identity) in refused.value.message
    assert HashingEmbedder(64).identity in refused.value.message
    assert "empty folder" in refused.value.hint


@pytest.mark.parametrize(
    ("note", "says"),
    [
        (None, "no memory.json"),
        ("{", "damaged"),
        ("[]", "damaged"),
        (json.dumps({"schema": 999, "embedder": {}}), "schema 999"),
    ],
)
def test_a_damaged_note_is_refused(tmp_path: Path, note: str | None, says: str) -> None:
    Memory.open(tmp_path, HashingEmbedder(64)).close()
    if note is None:
        (tmp_path / "memory.json").unlink()
    else:
        (tmp_path / "memory.json").write_text(note)
    with pytest.raises(MemoryStoreError, match=says) as refused:
        Memory.open(tmp_path, HashingEmbedder(64))
    assert refused.value.hint


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    Memory.open(tmp_path, HashingEmbedder(64)).close()
    (tmp_path / "chroma" / "chroma.sqlite3").write_bytes(b"not a database" * 1000)
    with pytest.raises(MemoryStoreError, match="cannot be opened") as refused:
        Memory.open(tmp_path, HashingEmbedder(64))
    assert "copy" in refused.value.hint


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file")
    with pytest.raises(MemoryStoreError, match="cannot be opened"):
        Memory.open(tmp_path / "memory", HashingEmbedder(64))


def test_importing_the_package_loads_nothing_heavy(make: SimpleNamespace) -> None:
    code = "import sys, pmd_agent.memory; print(sorted({'chromadb', 'sklearn', 'numpy', 'torch'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=make.env).stdout
        == "[]\n"
    )
