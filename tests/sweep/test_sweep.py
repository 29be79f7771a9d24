"""`pmd sweep` with the scripted policy: processes, resuming, failing, tuning, the report."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pmd_agent.cli import app
from pmd_agent.console import Console
from pmd_agent.errors import RecipeError, RunError
from pmd_agent.recipe import dump_recipe
from pmd_agent.sweep import choose, load_sweep, run_all, runs_of, tuning_runs

RECIPE: dict[str, Any] = {
    "steps": 2,
    "problems": {"type": "world", "train": 4, "test": 2, "validation": 2},
    "policy": {"type": "scripted"},
    "rollout": {"problems": 2, "samples": 2},
    "memory": {"tiers": []},
    "evaluate": {"every": 1, "samples": 1},
}
SWEEP: dict[str, Any] = {
    "name": "small",
    "recipe": "base.yaml",
    "seed_keys": ["seed", "problems.seed"],
    "seeds": {"tune": [101], "report": [1]},
    "arms": {"right": {"set": {"policy.answers": ["<answer> 00 </answer>"]}}, "other": {"set": {"rollout.samples": 3}}},
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / "base.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "sweep.yaml").write_text(
        yaml.safe_dump({**SWEEP, "runs": str(folder / "runs"), **changes}, sort_keys=False)
    )
    return folder / "sweep.yaml"


def test_a_sweep_runs_reports_and_does_nothing_twice(tmp_path: Path) -> None:
    file = write(tmp_path)
    first = CliRunner().invoke(app, ["sweep", str(file), "--jobs", "2"], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "2/2 · " in first.output and "Accuracy on problems never trained on" in first.output
    folder = tmp_path / "runs" / "small"
    written = {name: (folder / name / "summary.json").stat().st_mtime_ns for name in ("right-1", "other-1")}
    assert (folder / "report.html").is_file()

    again = CliRunner().invoke(app, ["sweep", str(file), "--jobs", "2"], catch_exceptions=False)
    assert "2 of 2 runs are finished already" in again.output
    assert written == {name: (folder / name / "summary.json").stat().st_mtime_ns for name in written}

    with pytest.raises(RunError, match=r"other-1 holds a run of another recipe"):
        changed = write(tmp_path, arms={**SWEEP["arms"], "other": {"set": {"rollout.samples": 4}}})
        CliRunner().invoke(app, ["sweep", str(changed)], catch_exceptions=False)


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def problems():\n    raise RuntimeError('no such file')\n")
    arms = {"bad": {"set": {"problems.type": "python", "problems.function": "nowhere.at:all"}}, **SWEEP["arms"]}
    sweep = load_sweep(write(tmp_path, arms=arms, seed_keys=["seed"]))
    out = io.StringIO()
    with pytest.raises(RunError, match=r"1 of 3 runs failed: .*bad-1"):
        run_all(runs_of(sweep), sweep.recipe, Console(out, out), jobs=2)
    assert "bad · seed 1 · failed with exit code 2" in out.getvalue()
    assert "3/3 · " in out.getvalue()
    assert (tmp_path / "runs" / "small" / "right-1" / "summary.json").is_file()


def test_a_part_of_a_sweep_has_a_report_of_its_own_and_says_what_was_typed(tmp_path: Path) -> None:
    file = write(tmp_path, seeds={"tune": [101], "validate": [7], "report": [1]})
    arguments = ["sweep", str(file), "--arms", " right,", "--seeds", "validate"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    folder = tmp_path / "runs" / "small"
    assert not (folder / "report.md").exists()
    assert (
        f"pmd sweep {file} --arms right --seeds validate\n"
        in (folder / "report-validate-right" / "report.md").read_text()
    )


def test_what_was_tuned_on_another_grid_is_refused_and_a_grid_not_searched_is_told(tmp_path: Path) -> None:
    arms = {"right": {"set": {"policy.answers": ["<answer> 00 </answer>"]}, "tune": {"rollout.samples": [2, 3]}}}
    file = write(tmp_path, arms=arms)
    told = CliRunner().invoke(app, ["sweep", str(file), "--dry-run"], catch_exceptions=False)
    assert "the grids of right have not been searched (--tune)" in told.output
    tried = [{"set": {"rollout.samples": n}, "validation": 0.5, "seeds": [101]} for n in (2, 3)]
    tuned = tmp_path / "runs" / "small" / "tuned.yaml"
    tuned.parent.mkdir(parents=True)
    tuned.write_text(yaml.safe_dump({"right": {"chosen": {"rollout.samples": 3}, "validation": 0.5, "tried": tried}}))
    told = CliRunner().invoke(app, ["sweep", str(file), "--dry-run"], catch_exceptions=False)
    assert "rollout.samples=3" in told.output and "not been searched" not in told.output
    arms["right"]["tune"] = {"rollout.samples": [2, 4]}
    for changes in ({"arms": arms}, {"seeds": {"tune": [102], "report": [1]}}, {"arms": SWEEP["arms"]}):
        with pytest.raises(RecipeError, match="chosen from other grids or seeds"):
            CliRunner().invoke(app, ["sweep", str(write(tmp_path, **changes)), "--dry-run"], catch_exceptions=False)


def test_tuning_chooses_by_validation_and_the_test_plays_no_part(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, arms={"pmd": {"tune": {"distill.lr": [1e-5, 1e-4, 1e-3]}}}))
    tried = tuning_runs(sweep)
    for (_, _, runs), validation, test in zip(
        tried, ([0.1, 0.5], [0.9, 0.6], [0.7, 0.6]), (0.9, 0.1, 0.8), strict=True
    ):
        (run,) = runs
        run.path.mkdir(parents=True)
        (run.path / "recipe.yaml").write_text(dump_recipe(run.recipe))
        lines = "".join(json.dumps({"step": i, "validation": v}) + "\n" for i, v in enumerate(validation))
        (run.path / "metrics.jsonl").write_text(lines)
        (run.path / "state.json").write_text(json.dumps({"next_step": 2, "metrics_bytes": len(lines)}))
        (run.path / "summary.json").write_text(json.dumps({"final": {"free": test}}))
    chosen = choose(tried)
    assert chosen["pmd"]["chosen"] == {"distill.lr": 1e-4}, "the last validation, and the first of equal ones"
    assert [entry["validation"] for entry in chosen["pmd"]["tried"]] == [0.5, 0.6, 0.6]
    assert yaml.safe_load(yaml.safe_dump(chosen)) == chosen


@pytest.mark.parametrize("own", [None, "3"])
def test_a_run_has_its_share_of_the_cores_unless_the_user_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    given = []

    def note(*_: Any, env: dict[str, str], **__: Any) -> None:
        given.append(env["OMP_NUM_THREADS"])
        raise OSError(12, "enough")

    monkeypatch.setattr("pmd_agent.sweep.run.subprocess.Popen", note)
    monkeypatch.setattr("pmd_agent.sweep.run.os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    sweep = load_sweep(write(tmp_path))
    with pytest.raises(RunError, match="2 of 2 runs failed"):
        run_all(runs_of(sweep), sweep.recipe, Console(io.StringIO(), io.StringIO()), jobs=2)
    assert given == [own or "4"] * 2


def test_a_process_that_cannot_be_started_is_a_failure_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("pmd_agent.sweep.run.subprocess.Popen", no_memory)
    sweep = load_sweep(write(tmp_path))
    with pytest.raises(RunError, match=r"2 of 2 runs failed: .*right-1 \(.*Cannot allocate memory\), .*other-1"):
        run_all(runs_of(sweep), sweep.recipe, Console(io.StringIO(), io.StringIO()), jobs=2)


def test_sigterm_stops_the_runs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    slow = {"slow": {"set": {"policy.answers": ["<answer> 00 </answer>"], "steps": 100_000, "evaluate.every": 0}}}
    file = write(tmp_path, arms=slow)
    command = [sys.executable, "-m", "pmd_agent", "sweep", str(file), "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    state = tmp_path / "runs" / "small" / "slow-1" / "state.json"
    try:
        _until(state.is_file)
        (worker,) = [pid for t in Path(f"/proc/{process.pid}/task").glob("*/children") for pid in t.read_text().split()]
        process.terminate()
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 130 and f"stopped; to go on: pmd sweep {file}" in said
        _until(lambda: not Path("/proc", worker).exists())
    finally:
        process.terminate()
        process.wait(60)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
