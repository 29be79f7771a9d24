"""Somebody else's run folder: nothing in it may lead out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pmd_agent.errors import PMDError, RunError
from pmd_agent.export import export_run
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.runs.files import append, shorten, write_atomically
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.lock import lock_folder, unlock_folder

INSIDE = [
    "lock", "memory/lock", "metrics.jsonl", "log.txt", "state.json.tmp", "adapter/adapter_model.safetensors", "adapter/extra",
    "memory/chroma/chroma.sqlite3", "evaluation/base.jsonl", "programs/step-000000.jsonl", "recipe.yaml",
]  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), "steps": 3, "policy": {"type": "scripted"}})


@pytest.fixture
def theirs(recipe: Recipe) -> Path:
    run = RunDir.create(recipe)
    unlock_folder(run.path)
    return run.path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file that is worth something."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary").write_text("Dear diary")
    return tmp_path / "mine" / "diary"


@pytest.mark.parametrize("name", INSIDE)
def test_a_link_is_refused_by_whatever_reads_or_goes_on(theirs: Path, recipe: Recipe, mine: Path, name: str) -> None:
    content = (theirs / "recipe.yaml").read_text()
    if name == "recipe.yaml":
        (theirs / name).unlink()
        mine.write_text(content)
    before = mine.read_bytes()
    (theirs / name).unlink(missing_ok=True)
    (theirs / name).parent.mkdir(parents=True, exist_ok=True)
    (theirs / name).symlink_to(mine)
    for use in (lambda: RunDir.open(theirs), lambda: RunDir.resume(recipe)):
        with pytest.raises(RunError, match=r"is a link to .*diary") as caught:
            use()
        assert caught.value.hint
    assert mine.read_bytes() == before and (theirs / name).is_symlink()


def test_neither_a_folder_elsewhere_nor_a_pipe(theirs: Path, recipe: Recipe, mine: Path) -> None:
    (theirs / "rollouts").symlink_to(mine.parent)
    with pytest.raises(RunError, match="is a link"):
        RunDir.open(theirs)
    (theirs / "rollouts").unlink()
    os.mkfifo(theirs / "metrics.jsonl")
    with pytest.raises(RunError, match="no plain file"):
        RunDir.resume(recipe)


def test_ones_own_folder_may_be_a_link(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "shortcut").symlink_to(theirs)
    assert RunDir.open(tmp_path / "shortcut").next_step == 0


def test_a_new_run_does_not_lock_through_a_link(recipe: Recipe, mine: Path) -> None:
    folder = recipe.runs / recipe.name
    folder.mkdir(parents=True)
    (folder / "lock").symlink_to(mine)
    with pytest.raises(RunError, match="is a link"):
        RunDir.create(recipe)
    with pytest.raises(OSError):
        lock_folder(folder)
    assert mine.read_text() == "Dear diary"


def test_a_memorys_folder(tmp_path: Path, mine: Path) -> None:
    folder = tmp_path / "memory"
    Memory.open(folder, HashingEmbedder()).close()
    (folder / "lock").unlink()
    (folder / "lock").symlink_to(mine)
    for use in (lambda: Memory.open(folder, HashingEmbedder()), lambda: Memory.snapshot(folder, HashingEmbedder(), 0)):
        with pytest.raises(PMDError, match="is a link"):
            use()
    assert mine.read_text() == "Dear diary"


@pytest.mark.parametrize(
    "write",
    [
        lambda path: append(path, b"x", last=False),
        lambda path: shorten(path, 0),
        lambda path: write_atomically(path.with_name(path.name.removesuffix(".tmp")), b"x"),
    ],
)
def test_no_file_is_written_through_a_link(tmp_path: Path, mine: Path, write: Callable[[Path], None]) -> None:
    """Also one that is put there after the folder was looked at."""
    (tmp_path / "file.tmp").symlink_to(mine)
    with pytest.raises(OSError):
        write(tmp_path / "file.tmp")
    assert mine.read_text() == "Dear diary"


def test_what_is_replaced_is_the_link_and_not_what_it_leads_to(tmp_path: Path, mine: Path) -> None:
    (tmp_path / "file").symlink_to(mine)
    write_atomically(tmp_path / "file", b"x")
    assert mine.read_text() == "Dear diary" and (tmp_path / "file").read_bytes() == b"x"


def test_an_export_copies_no_link(theirs: Path, mine: Path, tmp_path: Path) -> None:
    (theirs / "adapter").mkdir()
    (theirs / "adapter" / "adapter_config.json").symlink_to(mine)
    with pytest.raises(RunError, match="is a link"):
        export_run(RunDir.open(theirs), tmp_path / "out")
    assert not (tmp_path / "out").exists()
