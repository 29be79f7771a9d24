"""What a shell is offered after <Tab>, in-process and as the script that --show-completion prints asks for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pmd_agent.cli import app


def offered(words: str) -> list[str]:
    """For the last of these words, which may be empty."""
    asked = {"_PMD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return CliRunner().invoke(app, [], prog_name="pmd", env=asked, catch_exceptions=False).stdout.split()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("one", "other", "two")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "recipe.yaml").touch()
        os.utime(tmp_path / "runs" / name / "recipe.yaml", (number, number))
    (tmp_path / "runs" / "no-run").mkdir()
    for name in ("a.yaml", "ab.yml", "a.txt", ".a.yaml"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("command", ["chat", "export", "push", "evaluate", "watch", "report", "serve", "memory list"])
def test_runs(command: str) -> None:
    assert offered(f"pmd {command} o") == ["other", "one"], "those written last first"
    assert offered(f"pmd {command} runs/t") == ["runs/two/"]


@pytest.mark.parametrize("command", ["run", "problems", "doctor", "sweep"])
def test_recipes(command: str) -> None:
    assert offered(f"pmd {command} a") == ["a.yaml", "ab.yml"]
    assert offered(f"pmd {command} ") == ["a.yaml", "ab.yml", "runs/"]
    assert offered(f"pmd {command} nowhere/a") == []


def test_keys_and_commands() -> None:
    assert "distill.lora.rank=" in offered("pmd run a.yaml distill.lo")
    assert "distill.lora=" not in offered("pmd run a.yaml distill.lo")
    assert offered("pmd pu") == ["push"]
