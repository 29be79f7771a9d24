"""A run whose attempts are sampled a step ahead: killed again and again at random moments, it is the run that never was."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.processes import forked, into
from tests.test_end_to_end import RECIPES, lines, memory_dump, without_times

KILLS = 20
SMALL = [
    "steps=6", "problems.train=8", "problems.test=2", "problems.validation=2", "rollout.problems=2", "rollout.samples=4",
    "pipeline.every=2", "evaluate.every=3", "rollout.lag=1", "distill.updates=1",
]  # fmt: skip


def work(where: str, resume: bool) -> None:
    os.chdir(where)
    into(os.devnull, os.devnull)
    from pmd_agent.assembly.start import start
    from pmd_agent.recipe import load_recipe

    start(load_recipe(RECIPES / "quickstart.yaml", SMALL), resume=resume)


def _committed(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return len(lines(metrics)) if metrics.is_file() else 0


def _wait_for_a_step(going: Any, run: Path) -> None:
    before = _committed(run)
    while going.exitcode is None and _committed(run) == before:
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_it_is_as_if_never_killed(tmp_path: Path) -> None:
    def process(where: Path, resume: bool) -> Any:
        where.mkdir(exist_ok=True)
        return forked(work, str(where), resume)

    whole, moments = process(tmp_path / "never", False), random.Random(0)
    started = time.monotonic()
    whole.join()
    assert whole.exitcode == 0
    length = time.monotonic() - started
    unbroken, broken = tmp_path / "never/runs/quickstart", tmp_path / "killed/runs/quickstart"
    steps: list[int] = []
    while len(steps) < KILLS and not (broken / "summary.json").exists():
        going = process(tmp_path / "killed", (broken / "recipe.yaml").is_file())
        if len(steps) % 4 == 3:  # so that it gets on, and all parts of a run are met
            _wait_for_a_step(going, broken)
        going.join(moments.uniform(0.0, 0.25) * length)
        if going.exitcode is None:
            os.kill(going.pid, signal.SIGKILL)
            steps.append(_committed(broken))
        going.join()
        assert going.exitcode in (0, -signal.SIGKILL)
    print(f"killed after so many steps: {steps}")
    assert len(steps) >= 5 and max(steps) > 0, "killed too early or too late to show anything"
    process(tmp_path / "killed", True).join()
    rows = lines(unbroken / "metrics.jsonl")
    assert without_times(lines(broken / "metrics.jsonl")) == without_times(rows)
    assert all("ahead" in row["stage_seconds"] for row in rows[:-1])
    assert memory_dump(broken) == memory_dump(unbroken)
    for folder in ("rollouts", "programs"):
        kept, wanted = (sorted((run / folder).glob("step-*")) for run in (broken, unbroken))
        assert [p.name for p in kept] == [p.name for p in wanted] and len(wanted) == 6
        assert [p.read_bytes() for p in kept] == [p.read_bytes() for p in wanted]
    name = "adapter/adapter_model.safetensors"
    assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    versions = [{row["policy_version"] for row in lines(path)} for path in sorted((unbroken / "rollouts").iterdir())]
    assert versions == [{0}, {0}, {1}, {2}, {3}, {4}]
