"""What a disk does not take: one message, nothing half-written, and going on afterwards."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pmd_agent.errors import MemoryStoreError, PMDError, RunError
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.runs.disk import refusal, told
from pmd_agent.runs.files import append, write_atomically
from pmd_agent.runs.folder import RunDir

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), "steps": 8, "policy": {"type": "scripted"}})


def commit(run: RunDir, step: int, save: Callable[[Path], None] | None = None) -> None:
    def plain(folder: Path) -> None:
        (folder / "weights").write_text(str(step))

    run.commit(step, {"loss": step}, [{"id": f"{step}/p/0"}], save or plain)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """full(n): from the n-th call on, fsync says that the disk is full; full(0): it has room."""

    def fill(calls: int) -> None:
        count = 0

        def fsync(descriptor: int) -> None:
            nonlocal count
            count += 1
            if calls and count >= calls:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fsync)

    return fill


def test_a_disk_that_is_full_at_any_write_of_a_commit(recipe: Recipe, full: Callable[[int], None]) -> None:
    run = RunDir.create(recipe)
    commit(run, 0)
    before = (run.path / "metrics.jsonl").read_bytes()
    refused = 0
    for calls in range(1, 40):
        full(calls)
        try:
            commit(run, 1)
        except RunError as error:
            refused += 1
            assert "cannot be written: No space left on device" in error.message and str(run.path) in error.message
            assert "--resume" in error.hint
        else:
            full(0)
            break
        full(0)
        assert not [p.name for p in run.path.rglob("*.tmp")], calls
        found = json.loads((run.path / "state.json").read_text())
        if found["next_step"] == 2:  # all of it was there but for the folder's list of names
            break
        lines = (run.path / "metrics.jsonl").read_bytes()
        assert lines.startswith(before) and lines.endswith(b"\n")
        run = RunDir.resume(recipe)
        assert run.next_step == 1 and (run.path / "metrics.jsonl").read_bytes() == before
    assert refused > 5
    assert RunDir.resume(recipe).next_step == 2


def test_torchs_own_words_for_a_full_disk(recipe: Recipe) -> None:
    """In a process whose files may not grow, which is how a quota shows."""
    code = f"""
import resource, signal, sys, torch
from pathlib import Path
from pmd_agent.recipe import load_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.errors import PMDError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
run = RunDir.resume(load_recipe({str(recipe.runs / "one" / "recipe.yaml")!r}))
try:
    run.commit(1, {{}}, [], lambda folder: torch.save({{"x": torch.zeros(100_000)}}, folder / "trainer.pt"))
except PMDError as error:
    print(type(error).__name__, error)
print([p.name for p in run.path.rglob("*.tmp")])
"""
    run = RunDir.create(recipe)
    commit(run, 0)
    from pmd_agent.runs.lock import unlock_folder

    unlock_folder(run.path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith("RunError") and "cannot be written" in said[0] and "--resume" in said[1]
    assert said[2] == "[]" and RunDir.resume(recipe).next_step == 1


def test_a_disk_behind_any_exception_is_told_and_a_bug_is_not(tmp_path: Path) -> None:
    def behind(outer: Exception, inner: Exception) -> Exception:
        try:
            try:
                raise inner
            except Exception:
                raise outer  # noqa: B904
        except Exception as found:
            return found

    worldly: list[Exception] = [
        FULL, OSError(errno.EDQUOT, "Disk quota exceeded"), OSError(errno.EROFS, "Read-only file system"),
        sqlite3.OperationalError("database or disk is full"), RuntimeError("[enforce fail at x.cc:672] . unexpected pos 64 vs 0"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        behind(RuntimeError("unclear"), FULL), behind(ValueError("x"), behind(KeyError("y"), FULL)),
    ]  # fmt: skip
    for error in worldly:
        found = refusal(error, tmp_path)
        assert found is not None and found.message.startswith(f"{tmp_path} cannot be written: ") and found.hint
        with pytest.raises(RunError), told(tmp_path):
            raise error
    from chromadb.errors import InternalError

    found = refusal(behind(ValueError("x"), InternalError("Error in compaction: Failed to apply logs")), tmp_path)
    assert found is not None and found.message.startswith(f"The memory in {tmp_path} fails: Error in compaction")
    assert "MiB are free there" in found.message and "Make room" in found.hint
    bugs: list[Exception] = [
        ValueError("x"), FileNotFoundError(errno.ENOENT, "No such file"), RuntimeError("PytorchStreamReader failed"),
        MemoryStoreError("the disk is full of it"), BrokenPipeError(errno.EPIPE, "Broken pipe"),
    ]  # fmt: skip
    for error in bugs:
        assert refusal(error, tmp_path) is None
        with pytest.raises(type(error)), told(tmp_path):
            raise error


def test_chroma_on_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """It says 'Error in compaction', and nothing of a disk. In a process whose files may not grow."""
    code = f"""
import resource
from pathlib import Path
from pmd_agent.errors import RunError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.runs.disk import told
from pmd_agent.types import Experience

folder = Path({str(tmp_path)!r}) / "memory"
def attempts(step):
    return [Experience(f"{{step}}/p/{{i}}", "p", "w" * 2000 + str(i), 1.0, True, "", None, step, 0) for i in range(20)]

def fill():
    with told(folder), Memory.open(folder, HashingEmbedder()) as memory:
        memory.add_experiences(attempts(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        for step in range(1, 100):
            memory.add_experiences(attempts(step))

try:
    fill()
except RunError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with Memory.open(folder, HashingEmbedder()) as memory:
    memory.rollback(1)
    print(len(memory.list("experience")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "Error in compaction" in said[0] or "disk I/O error" in said[0], said  # the same limit, met at two places
    assert "Make room" in said[1] and "--resume" in said[1]
    assert said[2] == "20", "what was there before is there"


def test_a_file_that_cannot_grow_is_as_it_was(tmp_path: Path) -> None:
    if os.fork() == 0:  # the limit is this process's for good
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            append(tmp_path / "lines", b"first\n", last=True)
            write_atomically(tmp_path / "whole", b"first")
            for write in (lambda: append(tmp_path / "lines", b"x" * 2000, last=False),
                          lambda: write_atomically(tmp_path / "whole", b"x" * 2000)):  # fmt: skip
                with pytest.raises(OSError) as caught:
                    write()
                assert caught.value.filename
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert (tmp_path / "lines").read_bytes() == b"first\n" and (tmp_path / "whole").read_bytes() == b"first"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lines", "whole"]


def test_an_export_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    from pmd_agent.export import _as_one

    def fill(folder: Path) -> None:
        (folder / "half").write_text("x")
        torch.zeros(1)
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(PMDError, match=r"out cannot be written: No space left"):
        _as_one(tmp_path / "out", fill)
    assert not list(tmp_path.iterdir())
