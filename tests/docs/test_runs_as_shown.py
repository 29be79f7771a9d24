"""What pages show as code runs: the README's Python, the snippets of the how-tos, and the notebooks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest

from docs.generate import notebooks
from pmd_agent import Run
from pmd_agent.evaluation.gauges import GAUGES
from pmd_agent.recipe import load_recipe
from pmd_agent.types import Problem

ROOT = Path(__file__).parents[2]
BOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SMALL = [
    "steps=2",
    "rollout.problems=2",
    "rollout.samples=2",
    "rollout.max_tokens=48",
    "pipeline.max_tokens=64",
    "evaluate.every=0",
]


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_python_of_the_readme_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create = Run.create
    monkeypatch.setattr(Run, "create", lambda *given, **named: create(*given, **named, overrides=SMALL, quiet=True))
    (code,) = blocks("README.md")
    scope: dict[str, Any] = {}
    exec(code, scope)
    said = capsys.readouterr().out
    assert re.search(r"^0 [\d.]+$", said, re.MULTILINE) and re.search(r"^1 [\d.]+$", said, re.MULTILINE)
    assert said.count("In the mill, compute 37 zog 14.") == 1 and "<answer>" in said
    listed = {name for group in GAUGES.values() for name in group}
    assert {name for row in scope["run"].metrics() for name in row} <= listed, "every figure of a run is listed"


def test_the_recipes_of_pages_resolve(tmp_path: Path) -> None:
    for page in ("README.md", "docs/howto/own-problems.md"):
        (recipe,) = blocks(page, "yaml")
        (tmp_path / "mine.yaml").write_text(recipe)
        assert load_recipe(tmp_path / "mine.yaml").problems.verifier == "exact"


def test_the_verifier_of_the_howto() -> None:
    scope: dict[str, Any] = {}
    exec(blocks("docs/howto/own-verifier.md")[0], scope)
    check = scope["close_enough"]
    problem = Problem("p", "?", "200")
    assert [check(problem, text) for text in ("<answer> 201 </answer>", "<answer>203</answer>", "201")] == [
        True,
        False,
        False,
    ]


def test_the_reflector_of_the_howto() -> None:
    scope: dict[str, Any] = {}
    exec(blocks("docs/howto/own-reflector.md")[0], scope)
    lm = dspy.utils.DummyLM([{"strategy": "Use zog max.", "lesson": "Never zog add."}])
    with dspy.context(lm=lm):
        said = scope["OneLesson"]()(problem="In the mill, compute 37 zog 14.", experiences=["37: right"])
    assert said.strategies == ["Use zog max."] and said.lessons == ["Never zog add."]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_outputs_of_no_machine(path: Path) -> None:
    text = path.read_text()
    cells = json.loads(text)["cells"]
    assert any(cell.get("outputs") for cell in cells) and "/tmp" not in text and str(Path.home()) + "/" not in text
    assert not any(output["output_type"] == "error" for cell in cells for output in cell.get("outputs", []))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    code = (
        "import sys; from pathlib import Path; from docs.generate.notebooks import execute; "
        "book = execute(Path(sys.argv[1]), Path(sys.argv[2])); print(sum(len(c.get('outputs', [])) for c in book.cells))"
    )
    # In a process of its own: jupyter's warnings are not ours.
    command = [sys.executable, "-c", code, str(path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=850)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) >= 5 and notebooks.NOTEBOOKS.is_dir()
