"""A run of episodes that is killed again and again, at random moments, is in the end the run that never was.

Its processes are forked from one that has imported everything, so that a kill meets the run and costs a second or two.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.episodes.small_run import begun
from tests.test_lag import same

KILLS = int(os.environ.get("PMD_TEST_KILLS", "20"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_random_moments_and_resumed_is_as_if_never_killed(tmp_path: Path) -> None:
    unbroken, moments, killed = tmp_path / "never" / "episodes", random.Random(0), list[int]()
    whole = begun(unbroken)
    while not (unbroken / "log.txt").is_file() and whole.exitcode is None:  # what is forked from is warm
        time.sleep(0.01)
    started = time.monotonic()
    whole.join()
    length = time.monotonic() - started
    assert whole.exitcode == 0
    broken = tmp_path / "0" / "episodes"
    while len(killed) < KILLS or not (broken / "summary.json").is_file():
        if (broken / "summary.json").is_file():  # another one, for the kills that are left
            same(broken, unbroken)
            broken = tmp_path / str(len(killed)) / "episodes"
        going, before = begun(broken), _steps(broken)
        while len(killed) % 3 == 2 and going.exitcode is None and _steps(broken) == before:
            time.sleep(0.02)  # so that it gets on, and all parts of a run are met
        going.join(moments.uniform(0.0, 0.4) * length if len(killed) < KILLS else None)
        if going.exitcode is None:
            going.kill()
            killed.append(_steps(broken))
        going.join()
        assert going.exitcode in (0, -9)
    same(broken, unbroken)
    print(f"killed after so many steps: {killed}; an unbroken run took {length:.1f} s")
    assert len(killed) == KILLS and len(set(killed)) > 1, "killed too early or too late to show anything"


def _steps(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.is_file() else 0
