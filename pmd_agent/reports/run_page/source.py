"""Everything that a page of a run shows, read from its folder when it is asked for. No lock; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pmd_agent.errors import PMDError
from pmd_agent.memory import Memory
from pmd_agent.recipe import Recipe
from pmd_agent.reports.run_page.answers import answers_of
from pmd_agent.reports.run_page.memories import memories_of
from pmd_agent.reports.run_page.overview import overview, state_of
from pmd_agent.reports.run_page.rollouts import characters_each, every_which, rollouts_of
from pmd_agent.runs.folder import RunDir
from pmd_agent.text import cut, readable
from pmd_agent.types import Problem

PATIENCE = 50.0
"""The memory of a run that goes on is copied at most every so many times the processor's time of a copy: 2 % of one core."""
PROMPT, ALL_PROMPTS = 4_000, 8_000_000
"""Characters of a problem, and of all of them."""

ReadMemory = Callable[[RunDir], AbstractContextManager[Memory]]
ReadProblems = Callable[[RunDir], Sequence[Problem]]


class Source:
    """A run's folder, and how its memory and its problems are read. Memory, problems and the rest: a thread each."""

    def __init__(self, run: RunDir, memory: ReadMemory, problems: ReadProblems) -> None:
        self.path = run.path
        self._read_memory, self._read_problems = memory, problems
        self._recipe: tuple[int, Recipe] | None = None
        self._problems: dict[str, Any] | None = None
        self._overview: tuple[object, dict[str, Any]] | None = None
        self._memory: tuple[int, float, dict[str, Any]] | None = None

    def version(self) -> str:
        """Differs where the overview would."""
        names = ("metrics.jsonl", "state.json", "summary.json", "evaluation")
        stats = [(self.path / name).stat() if (self.path / name).exists() else None for name in names]
        parts = [f"{s.st_mtime_ns:x}-{s.st_size:x}" if s else "0" for s in stats]
        return ".".join([*parts, state_of(self._run())])

    def overview(self) -> dict[str, Any]:
        """The run at a glance (overview.py), and its version."""
        version = self.version()
        if self._overview is None or self._overview[0] != version:
            self._overview = version, overview(self._run()) | {"version": version}
        return self._overview[1]

    def rollouts(self, step: int) -> dict[str, Any]:
        """Of one step (rollouts.py)."""
        found = self.overview()
        counts = [value or 0 for value in found["metrics"].get("rollouts", [])]
        lengths = [value or 0.0 for value in found["metrics"].get("response_tokens", [])]
        shown = self._run().recipe.distill.show_tokens * (sum(lengths) / len(lengths) if lengths else 0.0)
        last = step == found["step"][-1] if found["step"] else False
        return rollouts_of(
            self.path,
            step,
            characters=characters_each(int(sum(counts))),
            tokens=last or step % every_which(len(counts), shown) == 0,
        )

    def answers(self) -> list[dict[str, Any]]:
        """To the test problems (answers.py)."""
        return answers_of(self.path)

    def memories(self) -> dict[str, Any]:
        """What was remembered (memories.py), of the last commit; of a run that goes on perhaps of an earlier one (PATIENCE)."""
        run = self._run()
        if self._memory is not None:
            step, until, found = self._memory
            spared = state_of(run) == "running" and time.monotonic() < until
            if step == run.next_step or (step < run.next_step and spared):
                return found
        if run.next_step == 0 and state_of(run) == "running":
            return _nothing(0, "No step is committed yet.")
        began = time.process_time()
        rows = {row["step"]: row for row in run.metrics()}
        try:
            with self._read_memory(run) as memory:
                found = memories_of(memory, run.next_step, rows)
        except PMDError as error:
            found = _nothing(run.next_step, error.message)
        took = time.process_time() - began
        self._memory = run.next_step, time.monotonic() + PATIENCE * took, found
        return found

    def problems(self) -> dict[str, list[str | None]]:
        """Problem id -> [what was asked, the answer]; empty where the problems cannot be read any more."""
        if self._problems is None:
            known = self._read_problems(self._run())
            limit = min(PROMPT, max(200, ALL_PROMPTS // max(1, len(known))))
            self._problems = {
                readable(p.id): [
                    cut(readable(p.prompt), limit),
                    None if p.answer is None else cut(readable(p.answer), 500),
                ]
                for p in known
            }
        return self._problems

    def _run(self) -> RunDir:
        """As it is now."""
        stamp = (self.path / "recipe.yaml").stat().st_mtime_ns if (self.path / "recipe.yaml").exists() else 0
        if self._recipe is None or self._recipe[0] != stamp:  # a resumed run may have more steps
            self._recipe = stamp, RunDir.open(self.path).recipe
        return RunDir(self.path, self._recipe[1])


def _nothing(step: int, why: str) -> dict[str, Any]:
    """In the place of a memory."""
    return {"step": step, "entries": [], "events": [], "sizes": {}, "more": 0, "archive": 0, "none": why}


def newest(runs: Path) -> Path | None:
    """The run in a folder of runs that was written to last."""
    found = [p.parent for p in runs.glob("*/recipe.yaml")]
    return max(
        found,
        key=lambda folder: max(_changed(folder / name) for name in ("metrics.jsonl", "recipe.yaml")),
        default=None,
    )


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
