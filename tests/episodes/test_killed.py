"""A run of episodes that is killed again and again, at random moments, is in the end the run that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_end_to_end import RECIPES, lines, memory_dump, without_times

SMALL = [
    "steps=5", "problems.train=4", "problems.test=2", "problems.validation=2", "rollout.problems=2", "rollout.samples=2",
    "pipeline.every=2", "evaluate.every=3",
]  # fmt: skip
KILLS = int(os.environ.get("PMD_TEST_KILLS", "4"))
"""20 take several minutes."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_random_moments_and_resumed_is_as_if_never_killed(tmp_path: Path) -> None:
    (tmp_path / "never").mkdir()
    recipe = str(RECIPES / "episodes.yaml")
    _whole(["run", recipe, *SMALL], tmp_path / "never")
    unbroken, broken = tmp_path / "never/runs/episodes", tmp_path / "runs/episodes"
    moments = random.Random(0)
    command = [sys.executable, "-m", "pmd_agent", "run", recipe, *SMALL]
    killed: list[int] = []
    while len(killed) < KILLS:
        resume = ["--resume"] if (broken / "recipe.yaml").is_file() else []
        process = subprocess.Popen(
            [*command, *resume], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Every other time a step is first let through, so that all parts of a run are met.
        _wait_for(process, broken, steps=len(killed) % 2)
        time.sleep(moments.uniform(0.0, 4.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed.append(_steps(broken))
        if (broken / "summary.json").exists():
            break
    assert len(killed) > 1 and max(killed) > 0, f"killed too early or too late to show anything: {killed}"
    _whole(["run", recipe, *SMALL, "--resume"], tmp_path)
    assert without_times(lines(broken / "metrics.jsonl")) == without_times(lines(unbroken / "metrics.jsonl"))
    assert memory_dump(broken) == memory_dump(unbroken)
    for folder in ("rollouts", "programs"):
        kept, wanted = (sorted((run / folder).glob("step-*")) for run in (broken, unbroken))
        assert [p.name for p in kept] == [p.name for p in wanted] and wanted
        assert [p.read_bytes() for p in kept] == [p.read_bytes() for p in wanted]


def _whole(arguments: list[str], where: Path) -> None:
    """A run to its end, for which `pmd` of the other tests has too little patience on a busy machine."""
    command = [sys.executable, "-m", "pmd_agent", *arguments]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _steps(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.is_file() else 0


def _wait_for(process: subprocess.Popen[bytes], run: Path, *, steps: int) -> None:
    """Until it writes to its log, and so many more steps are committed: what comes before is the same for every run."""
    started, before = time.time(), _steps(run)
    log = run / "log.txt"
    while process.poll() is None and time.time() < started + 600:
        if log.is_file() and log.stat().st_mtime > started - 1 and _steps(run) >= before + steps:
            return
        time.sleep(0.05)
