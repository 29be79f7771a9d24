"""Standard output that takes no more: one message and 2, without a word where the reader has gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pmd_agent.recipe import parse_recipe

SCRIPTED = {
    "name": "one", "steps": 2, "policy": {"type": "scripted", "answers": ["4", "6"]},
    "rollout": {"problems": 2, "samples": 2}, "evaluate": {"every": 0, "samples": 1},
    "problems": {"type": "world", "train": 4, "test": 2, "validation": 0}, "memory": {"tiers": []},
}  # fmt: skip
Pmd = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = [["schema"], ["--help"], ["--version"], ["run", "r.yaml", "--dry-run"], ["problems", "r.yaml"]]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    from pmd_agent.recipe import dump_recipe

    (tmp_path / "r.yaml").write_text(dump_recipe(parse_recipe(SCRIPTED)))
    return tmp_path


def call(arguments: Sequence[str], where: Path, **streams: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pmd_agent", *arguments]
    return subprocess.run(command, cwd=where, stderr=subprocess.PIPE, text=True, timeout=120, **streams)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: a[0])
def test_a_full_disk_behind_standard_output(arguments: list[str], recipe: Path) -> None:
    with open("/dev/full", "w") as full:
        done = call(arguments, recipe, stdout=full)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1 and "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("arguments", [["schema"], ["problems", "r.yaml"]], ids=lambda a: a[0])
def test_a_reader_that_has_gone(arguments: list[str], recipe: Path) -> None:
    shell = '{ "$@"; echo status $? >&2; } | true'
    command = ["bash", "-c", shell, "pmd", sys.executable, "-m", "pmd_agent", *arguments]
    done = subprocess.run(command, cwd=recipe, capture_output=True, text=True, timeout=120)
    assert done.stderr == "status 2\n"


def test_a_run_that_nobody_can_read_stops_at_a_commit_and_goes_on(recipe: Path) -> None:
    with open("/dev/full", "w") as full:
        done = call(["run", "r.yaml"], recipe, stdout=full)
    assert done.returncode == 2 and done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr
    if (recipe / "runs" / "one" / "recipe.yaml").is_file():
        assert "pmd run r.yaml --name one --resume" in done.stderr
        done = call(["run", "r.yaml", "--resume"], recipe, stdout=subprocess.PIPE)
    else:
        done = call(["run", "r.yaml"], recipe, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert len((recipe / "runs" / "one" / "metrics.jsonl").read_text().splitlines()) == 2


def test_neither_stream_takes_anything(recipe: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "pmd_agent", "schema"]
        assert subprocess.run(command, cwd=recipe, stdout=full, stderr=full, timeout=120).returncode == 2
