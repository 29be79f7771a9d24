"""Between a run and its trackers: each has a thread of its own, what fails is warned of once, and the run never waits for long.

What a tracker was told last is kept in the run's folder, so that a resumed run tells it the steps that it missed, and none twice.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pmd_agent.runs.changes import flat
from pmd_agent.runs.files import to_json, write_atomically
from pmd_agent.runs.folder import RunDir
from pmd_agent.trackers.base import Told, Tracker, figures
from pmd_agent.trackers.services import SERVICES
from pmd_agent.types import Step

PATIENCE = 60.0
"""Seconds that a run waits at its end for each tracker."""
SAMPLES = 4
"""Rollouts of a step that are told, at most."""


def relay(run: RunDir, names: Iterable[str], warn: Callable[[str], None]) -> Relay:
    """To the trackers of these names (`track` in a recipe)."""
    return Relay(run, {name: SERVICES[name]() for name in names}, warn)


class Relay:
    """All trackers of a run. Nothing here raises."""

    def __init__(self, run: RunDir, trackers: Mapping[str, Tracker], warn: Callable[[str], None]) -> None:
        self._run = run
        settings = flat(run.recipe.model_dump(mode="json", exclude={"runs"}))
        config = {key: str(value) if isinstance(value, list) else value for key, value in settings}
        made = hashlib.sha256(f"{run.path.resolve()} {run.recipe.seed}".encode()).hexdigest()[:16]
        told = Told(made, run.recipe.name, run.path, config)
        self._lanes = [_Lane(name, tracker, run, told, warn) for name, tracker in trackers.items()]

    def step(self, step: Step) -> None:
        """One that is committed, with some right and some wrong ones of its rollouts."""
        if not self._lanes:
            return
        rows = [
            {"problem": r.problem_id, "text": r.text, "reward": v.reward, "correct": v.correct, "feedback": v.feedback}
            for rollouts_G, verdicts_G in zip(step.rollouts_PG, step.verdicts_PG, strict=True)
            for r, v in zip(rollouts_G, verdicts_G, strict=True)
        ]
        right, wrong = ([row for row in rows if bool(row["correct"]) == kind] for kind in (True, False))
        few = [*right[: SAMPLES // 2], *wrong[: SAMPLES // 2]]
        for lane in self._lanes:
            lane.put(step.number, step.metrics, few)

    def finish(self) -> None:
        """Tell what is left, and the summary; then go, whatever they do."""
        summary = self._run.read_json("summary.json") or {}
        for lane in self._lanes:
            lane.end(dict(flat(summary)))
        for lane in self._lanes:
            lane.join()


class _Lane:
    """One tracker and its thread."""

    def __init__(self, name: str, tracker: Tracker, run: RunDir, told: Told, warn: Callable[[str], None]) -> None:
        self._name, self._tracker, self._run, self._told, self._warn = name, tracker, run, told, warn
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._mark = run.path / f".tracked-{name}.json"
        self._thread = threading.Thread(target=self._work, name=f"pmd-{name}", daemon=True)
        self._jobs.put(self._start)
        self._thread.start()

    def put(self, number: int, metrics: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> None:
        self._jobs.put(lambda: self._log(number, metrics, samples))

    def end(self, summary: Mapping[str, Any]) -> None:
        self._jobs.put(lambda: self._tracker.finish(summary))
        self._jobs.put(None)

    def join(self) -> None:
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._warn(f"{self._name} has not taken all figures within {PATIENCE:.0f} s: the rest is left out")

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job()
        except ImportError as error:
            self._warn(f"track: {self._name} is not installed ({error.name}); pip install 'pmd-agent[{self._name}]'")
        except Exception as error:  # somebody else's service and package: whatever it raises is its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._warn(f"track: {self._name} failed and hears no more of this run: {reason}")

    def _start(self) -> None:
        next_step = self._said()
        self._tracker.start(self._told, next_step)
        for row in self._run.metrics()[next_step:]:
            self._log(int(row["step"]), row, [])

    def _said(self) -> int:
        """Steps that it was told of, and that are still committed."""
        try:
            return min(int(json.loads(self._mark.read_text())["steps"]), self._run.next_step)
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _log(self, number: int, metrics: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> None:
        if number < self._said():
            return
        self._tracker.log(number + 1, figures({k: v for k, v in metrics.items() if k != "step"}), samples)
        write_atomically(self._mark, to_json({"steps": number + 1}))
