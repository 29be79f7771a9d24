"""pmd run and its neighbours: dry runs, names, and mistakes that exit with 2 and say what to type."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pmd_agent.recipe import Recipe, load_recipe, parse_recipe
from pmd_agent.runs.folder import RunDir

Pmd = Callable[..., subprocess.CompletedProcess[str]]
QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


def test_a_dry_run_prints_every_setting(pmd: Pmd, tmp_path: Path) -> None:
    done = pmd("run", str(QUICKSTART), "distill.lr=1e-4", "seed=7", "--name", "other", "--dry-run")
    printed = yaml.safe_load(done.stdout)
    assert parse_recipe(printed) == load_recipe(QUICKSTART, ["distill.lr=1e-4", "seed=7", "name=other"])
    assert printed["distill"]["max_grad_norm"] == 1.0
    assert not (tmp_path / "runs").exists() and done.stderr == ""


def test_a_fresh_name(pmd: Pmd, tmp_path: Path) -> None:
    for taken in ("quickstart", "quickstart-2"):
        (tmp_path / "runs" / taken).mkdir(parents=True)
    done = pmd("run", str(QUICKSTART), "--fresh-name", "--dry-run")
    assert yaml.safe_load(done.stdout)["name"] == "quickstart-3"
    done = pmd("run", str(QUICKSTART), "--name", "new", "--fresh-name", "--dry-run")
    assert yaml.safe_load(done.stdout)["name"] == "new"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "RECIPE"),
        (["run", "nowhere.yaml"], "There is no recipe nowhere.yaml"),
        (["run", "broken.yaml"], "not YAML"),
        (["run", "QUICK", "distill.lr"], "key=value"),
        (["run", "QUICK", "distill.rate=1"], "unknown key distill.rate"),
        (["run", "QUICK", "rollout.samples=0"], "rollout.samples"),
        (["run", "QUICK", "--name", "a/b"], "names a folder"),
        (["run", "QUICK", "--name", ""], "names a folder"),
        (["run", "QUICK", "--resume", "--fresh-name"], "one of the two"),
        (["run", "QUICK", "--nothing"], "--nothing"),
        (["nothing"], "nothing"),
        (["evaluate", "nowhere"], "There is no run nowhere"),
        (["evaluate", "nowhere", "--problems", "0"], "--problems"),
        (["export", "nowhere", "--to", "x"], "There is no run nowhere"),
        (["export", ".", "--to", "x"], ". is no run: it has no recipe.yaml"),
        (["export", "nowhere"], "--to"),
        (["memory", "list", "nowhere"], "There is no run nowhere"),
        (["memory", "list", "kept", "--tier", "skill"], "skill"),
        (["memory", "list", "kept"], "has no memory"),
    ],
)
def test_mistakes(arguments: list[str], says: str, pmd: Pmd, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    RunDir.create(Recipe(name="kept", runs=tmp_path / "runs"))
    done = pmd(*[str(QUICKSTART) if a == "QUICK" else a for a in arguments], code=2)
    assert says in done.stderr and done.stdout == ""
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["kept"]


def test_the_schema(pmd: Pmd) -> None:
    assert set(json.loads(pmd("schema").stdout)["properties"]) == set(Recipe.model_fields)


def test_no_command_is_a_question_for_help(pmd: Pmd) -> None:
    done = pmd(code=2)
    assert "Usage: pmd" in done.stdout + done.stderr


INTERRUPTED = """
import signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell hands down an ignored one
from pmd_agent.runs.folder import RunDir

recipe_path, begun = sys.argv[1], sys.argv[2] == "begun"

def start(recipe, *, resume, console):
    if begun:
        RunDir.create(recipe)
    signal.raise_signal(signal.SIGINT)

sys.modules["pmd_agent.assembly.start"] = types.SimpleNamespace(start=start)
sys.argv = ["pmd", "run", recipe_path, "seed=3", "--name", "new", "--fresh-name"]
from pmd_agent.cli import main
main()
"""


@pytest.mark.parametrize("state", ["begun", "early"])
def test_an_interrupted_run_says_how_to_go_on(state: str, tmp_path: Path) -> None:
    (tmp_path / "runs" / "new").mkdir(parents=True)
    command = [sys.executable, "-c", INTERRUPTED, str(QUICKSTART), state]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGINT and "Traceback" not in done.stderr
    if state == "begun":
        assert done.stderr.strip().endswith(f"pmd run {QUICKSTART} seed=3 --name new-2 --resume")
    else:
        assert "stopped before the run began" in done.stderr
