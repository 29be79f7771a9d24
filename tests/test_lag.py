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
    def process(where: Path) -> Any:
        where.mkdir(exist_ok=True)
        return forked(work, str(where), (where / "runs/quickstart/recipe.yaml").is_file())

    whole, moments = process(tmp_path / "never"), random.Random(0)
    started = time.monotonic()
    whole.join()
    assert whole.exitcode == 0
    length = time.monotonic() - started
    unbroken = tmp_path / "never/runs/quickstart"
    steps: list[int] = []
    while len(steps) < KILLS:  # of one run after another
        where = tmp_path / f"killed-{len(steps)}"
        broken = where / "runs/quickstart"
        while not (broken / "summary.json").exists():
            going = process(where)
            if len(steps) % 4 == 3:  # so that it gets on, and all parts of a run are met
                _wait_for_a_step(going, broken)
            going.join(moments.uniform(0.0, 0.25) * length if len(steps) < KILLS else None)
            if going.exitcode is None:
                os.kill(going.pid, signal.SIGKILL)
                steps.append(_committed(broken))
            going.join()
            assert going.exitcode in (0, -signal.SIGKILL)
        same(broken, unbroken)
    print(f"killed after so many steps: {steps}")
    assert len(set(steps)) > 1, "killed too early or too late to show anything"
    rows = lines(unbroken / "metrics.jsonl")
    assert all("ahead" in row["stage_seconds"] for row in rows[:-1])
    versions = [{row["policy_version"] for row in lines(path)} for path in sorted((unbroken / "rollouts").iterdir())]
    assert versions == [{0}, {0}, {1}, {2}, {3}, {4}]


def same(run: Path, wanted: Path) -> None:
    """All but the times, to the byte."""
    assert without_times(lines(run / "metrics.jsonl")) == without_times(lines(wanted / "metrics.jsonl"))
    assert memory_dump(run) == memory_dump(wanted)
    for folder in ("rollouts", "programs"):
        kept, there = (sorted((each / folder).glob("step-*")) for each in (run, wanted))
        assert [p.name for p in kept] == [p.name for p in there] and there
        assert [p.read_bytes() for p in kept] == [p.read_bytes() for p in there]
    name = "adapter/adapter_model.safetensors"
    assert (run / name).read_bytes() == (wanted / name).read_bytes()
