"""The shipped example, on a small run of the policy in the box."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

import pmd_agent as pmd

RECIPES = Path(__file__).parents[2] / "recipes"
pytestmark = pytest.mark.slow

SMALL = [
    "steps=2", "problems.train=8", "problems.validation=1", "problems.test=1", "rollout.problems=4", "rollout.samples=4",
    "pipeline.every=2", "evaluate.every=0", "evaluate.with_memory=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("tune_reflector", RECIPES / "examples" / "tune_reflector.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pmd.Run:
    folder = tmp_path_factory.mktemp("runs")
    overrides = [*SMALL, f"runs={folder}"]
    return pmd.Run.create(RECIPES / "quickstart.yaml", overrides=overrides, quiet=True).finish()


def test_reflections_are_those_of_the_run(run: pmd.Run) -> None:
    found = run.reflections()
    assert [e.step for e in found] == [0] * 4 + [1] * 4
    with run.memory() as memory:
        insights = {entry.text for entry in memory.list("insight")}
    said = {text for e in found for text in [*e.strategies, *e.lessons]}
    assert insights and insights <= said
    assert any(e.gain is not None for e in found) or not any(a.correct for e in found for a in e.experiences)


@pytest.mark.timeout(600)
def test_the_gain_of_what_was_written_is_measured(run: pmd.Run) -> None:
    import dspy

    metric = pmd.metrics.teacher_gain(run)
    example = next(e for e in run.reflections() if e.lessons)
    written = dspy.Prediction(strategies=example.strategies, lessons=example.lessons)
    measured = metric(example, written)
    assert 0 < measured < 1 and measured != 0.5
    with run.policy() as policy:
        assert pmd.metrics.teacher_gain(policy)(example, written) == pytest.approx(measured, abs=1e-5)
    assert metric(example, dspy.Prediction(strategies=[], lessons=[])) == 0.5


@pytest.mark.timeout(600)
def test_the_example_tunes_and_puts_back(run: pmd.Run, example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy in the box follows an example that it is shown; whether that helps is not the example's business here."""
    monkeypatch.setattr(example, "improved", lambda before, after: True)
    tuned = example.main([str(run.path), "--metric", "support", "--budget", "8", "--name", "tuned"])
    state = json.loads((tuned.path / "programs" / "reflector.json").read_text())
    shown = sum(len(state[name]["demos"]) for name in ("contrast", "postmortem"))
    sent = b"".join(path.read_bytes() for path in (tuned.path / "programs").glob("step-*.jsonl"))
    assert tuned.finished and (shown > 0) == (sent.count(b'"role": "assistant"') > 0)
    assert shown, "no reflection was supported: there is nothing to show"
