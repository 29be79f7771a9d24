"""Damaged checkpoints: a run goes on from the one before and says so, or there is one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import RunError
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.read_lines import read_lines
from pmd_agent.runs.whole import SEAL, damage, seal


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3])


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARMS: dict[str, Callable[[Path], None]] = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b"") and None,
    "gone": Path.unlink,
    "a bit": turn_a_bit,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x") and None,
}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), "steps": 8, "policy": {"type": "scripted"}})


def commit(run: RunDir, step: int) -> None:
    def save(folder: Path) -> None:
        (folder / "weights").mkdir()
        (folder / "weights" / "w.bin").write_text(f"weights of step {step}")
        (folder / "trainer.json").write_text(json.dumps({"steps": step}))

    run.commit(step, {"loss": step, "said": "é" * step}, [{"id": f"{step}/p/0"}], save)


def lines_of(run: RunDir) -> list[int]:
    return [line["step"] for line in run.metrics()]


@pytest.mark.parametrize("file", ["weights/w.bin", "trainer.json"])
@pytest.mark.parametrize("harm", HARMS)
def test_the_checkpoint_before_takes_over(recipe: Recipe, file: str, harm: str) -> None:
    run = RunDir.create(recipe)
    for step in range(3):
        commit(run, step)
    assert run.checkpoint is not None
    HARMS[harm](run.checkpoint / file)
    resumed = RunDir.resume(recipe)
    assert resumed.next_step == 2 and resumed.checkpoint == run.path / "checkpoints" / "step-000002"
    (note,) = resumed.notes
    assert "step-000003 is damaged" in note and file in note and "step-000002" in note
    assert lines_of(resumed) == [0, 1] and len(list((run.path / "rollouts").iterdir())) == 2
    commit(resumed, 2)
    again = RunDir.resume(recipe)
    assert again.next_step == 3 and again.notes == [] and lines_of(again) == [0, 1, 2]


def test_a_checkpoint_that_is_gone_or_has_no_seal_to_be_read(recipe: Recipe) -> None:
    import shutil

    run = RunDir.create(recipe)
    for step in range(3):
        commit(run, step)
    assert run.checkpoint is not None
    (run.checkpoint / SEAL).write_bytes(b"")
    assert RunDir.resume(recipe).next_step == 2
    shutil.rmtree(run.path / "checkpoints" / "step-000002")
    with pytest.raises(RunError, match="step-000002 is damaged: it is missing") as caught:
        RunDir.resume(recipe)
    assert caught.value.hint


def test_with_none_that_is_whole_there_is_one_error_and_nothing_changes(recipe: Recipe) -> None:
    run = RunDir.create(recipe)
    for step in range(3):
        commit(run, step)
    for checkpoint in (run.path / "checkpoints").iterdir():
        cut(checkpoint / "trainer.json")
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != "lock"}
    with pytest.raises(RunError, match=r"step-000003 is damaged: trainer\.json has 3 of"):
        RunDir.resume(recipe)
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != "lock"} == before


def test_a_checkpoint_of_an_earlier_release(tmp_path: Path) -> None:
    import torch

    torch.save({"x": torch.arange(1000)}, tmp_path / "trainer.pt")
    (tmp_path / "trainer.json").write_text("{}")
    assert damage(tmp_path) == ""
    for harm in ("cut", "empty", "a bit"):
        whole = (tmp_path / "trainer.pt").read_bytes()
        HARMS[harm](tmp_path / "trainer.pt")
        assert "trainer.pt" in damage(tmp_path), harm
        (tmp_path / "trainer.pt").write_bytes(whole)
    (tmp_path / "trainer.json").write_text("{")
    assert "trainer.json" in damage(tmp_path)
    (tmp_path / "trainer.json").write_text("{}")
    seal(tmp_path)
    assert damage(tmp_path) == "" and damage(tmp_path / "nowhere") == "it is missing"


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b"7"])
def test_a_damaged_line_is_named(recipe: Recipe, tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(RunError, match=r"lines\.jsonl is damaged: line 2: "):
        list(read_lines(path))
    assert list(read_lines(tmp_path / "nowhere.jsonl")) == []
    run = RunDir.create(recipe)
    (run.path / "metrics.jsonl").write_bytes(path.read_bytes())
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: line 2"):
        run.metrics()


def test_metrics_that_do_not_reach_the_checkpoint_before(recipe: Recipe) -> None:
    run = RunDir.create(recipe)
    for step in range(3):
        commit(run, step)
    assert run.checkpoint is not None
    cut(run.checkpoint / "trainer.json")
    lines: list[Any] = (run.path / "metrics.jsonl").read_bytes().split(b"\n")
    (run.path / "metrics.jsonl").write_bytes(lines[0] + b"\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: lines are missing"):
        RunDir.resume(recipe)
