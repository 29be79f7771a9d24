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
    "steps=6", "problems.train=4", "problems.test=2", "problems.validation=2", "rollout.problems=2", "rollout.samples=2",
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
        before = (broken / "metrics.jsonl").read_text().count("\n") if (broken / "metrics.jsonl").is_file() else 0
        _wait_for_work(process, broken)
        time.sleep(moments.uniform(0.0, 1.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed.append(before)
        if (broken / "summary.json").exists():
            break
    assert killed, "never killed"
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


def _wait_for_work(process: subprocess.Popen[bytes], run: Path) -> None:
    """Until it has its memory open: what comes before is the same for every run."""
    deadline = time.monotonic() + 120
    started = time.time()
    while time.monotonic() < deadline and process.poll() is None:
        log = run / "log.txt"
        if log.is_file() and log.stat().st_mtime > started - 1:
            return
        time.sleep(0.05)
