"""Trackers hear each committed step once, whatever happens to them and to the run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.recipe import parse_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.trackers import Relay, relay
from pmd_agent.trackers.base import Told, figures
from pmd_agent.types import Problem, Rollout, Step, Verdict

STEP = {"reward": 0.5, "stage_seconds": {"attempt": 1.0}, "validation": None, "tokens": 12}


class Listener:
    """Remembers what it is told."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.heard: list[tuple[int, Mapping[str, float], int]] = []
        self.fails_at, self.started, self.summary = fails_at, -1, None
        self.run: Told | None = None

    def start(self, run: Told, next_step: int) -> None:
        self.run, self.started = run, next_step

    def log(self, step: int, figures: Mapping[str, float], samples: Sequence[Mapping[str, Any]]) -> None:
        if step == self.fails_at:
            raise RuntimeError("the service\nis down")
        self.heard.append((step, figures, len(samples)))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.summary = summary


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(
        parse_recipe({"name": "one", "runs": str(tmp_path), "steps": 3, "policy": {"type": "scripted"}})
    )


def step(number: int) -> Step:
    problem = Problem("p", "?", "4")
    rollouts = [Rollout(f"{number}/p/{g}", "p", (1,), (2,), (True,), (-1.0,), "4", "stop", 0) for g in range(8)]
    verdicts = [Verdict(float(g < 5), g < 5, "", "4") for g in range(8)]
    return Step.of(number, 3, {"step": number} | STEP, [problem], [rollouts], [verdicts])


def go(run: RunDir, listener: Any, numbers: Sequence[int], warn: Callable[[str], None], ends: bool = False) -> None:
    told = Relay(run, {"mine": listener}, warn)
    for number in numbers:
        run.commit(number, {"step": number} | STEP, [], lambda folder: None, last=number == 2)
        told.step(step(number))
    if ends:
        run.write_json("summary.json", {"steps": 3, "final": {"free": 0.75}})
        told.finish()
    else:  # as killed once all was heard
        for lane in told._lanes:
            lane._jobs.put(None)
            lane.join()


def test_each_step_is_heard_once_over_a_resumption(run: RunDir) -> None:
    first, second = Listener(), Listener()
    go(run, first, [0, 1], pytest.fail)
    go(RunDir.open(run.path), second, [2], pytest.fail, ends=True)
    assert [n for n, _, _ in first.heard + second.heard] == [1, 2, 3]
    assert first.heard[0][1:] == ({"reward": 0.5, "stage_seconds/attempt": 1.0, "tokens": 12.0}, 4)
    assert (first.started, second.started) == (0, 2) and second.summary == {"steps": 3, "final.free": 0.75}
    assert first.run is not None and second.run is not None and first.run.id == second.run.id
    assert first.run.config["policy.type"] == "scripted" and "runs" not in first.run.config


def test_what_was_committed_and_not_heard_is_heard_on_resumption(run: RunDir) -> None:
    go(run, Listener(fails_at=2), [0, 1], lambda text: None)
    again = Listener()
    go(RunDir.open(run.path), again, [2], pytest.fail, ends=True)
    assert [n for n, _, _ in again.heard] == [2, 3]


def test_one_that_fails_is_warned_of_once_and_ends_nothing(run: RunDir) -> None:
    warnings: list[str] = []
    bad, good = Listener(fails_at=1), Listener()
    told = Relay(run, {"bad": bad, "good": good}, warnings.append)
    for number in range(3):
        run.commit(number, {"step": number} | STEP, [], lambda folder: None, last=number == 2)
        told.step(step(number))
    told.finish()
    assert [n for n, _, _ in good.heard] == [1, 2, 3] and bad.heard == []
    assert warnings == ["track: bad failed and hears no more of this run: the service is down"]


def test_one_that_hangs_does_not_hold_the_run(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["pmd_agent.trackers.relay"], "PATIENCE", 0.2)
    warnings: list[str] = []
    release = threading.Event()

    class Hanging(Listener):
        def start(self, run: Told, next_step: int) -> None:
            release.wait()

    go(run, Hanging(), [0, 1, 2], warnings.append, ends=True)
    assert len(warnings) == 1 and "the rest is left out" in warnings[0]
    release.set()


def test_a_missing_package_is_named(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    warnings: list[str] = []
    told = relay(run, ["trackio"], warnings.append)
    told.finish()
    assert len(warnings) == 1 and "pip install 'pmd-agent[trackio]'" in warnings[0]


def test_numbers_alone_are_figures() -> None:
    assert figures({"a": 1, "b": {"c": 0.5, "d": "x"}, "e": True, "f": None}) == {"a": 1.0, "b/c": 0.5}
