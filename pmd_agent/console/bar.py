"""How far a long stage has come: a line that moves on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn
from rich.text import Text

from pmd_agent.console.words import duration, safe

EVERY_SECONDS = 60.0
"""Between two plain lines, and before the first."""
BAR, WIDE = 24, 72
"""Cells of the bar, and of a terminal that has room for it."""


class Bar:
    """A spinner with a name; a bar and a count beside it as soon as something is counted."""

    def __init__(self, terminal: Terminal, name: str) -> None:
        bar = [_Bar(bar_width=BAR)] if terminal.width >= WIDE else []
        count = TextColumn("{task.fields[count]}", markup=False)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), *bar, count,
            console=terminal, transient=True, refresh_per_second=5,
        )  # fmt: skip
        self._task = self._progress.add_task(safe(name), total=None, count="")
        self.start, self.stop = self._progress.start, self._progress.stop

    def count(self, done: int, total: int) -> None:
        """So many are done. Another total begins anew."""
        task = self._progress.tasks[0]
        if task.total != total or done < task.completed:
            self._progress.reset(self._task, total=total, completed=done)
        left = _left(task)
        self._progress.update(self._task, completed=done, count=f"{done}/{total}{left}")


class _Bar(BarColumn):
    """Nothing where nothing is counted."""

    def render(self, task: Task) -> Any:
        return super().render(task) if task.total else Text("")


def _left(task: Task) -> str:
    seconds = task.time_remaining
    return f" · {duration(seconds)} left" if seconds else ""


class PlainCount:
    """Says how far it is once a minute, through `say`."""

    def __init__(self, name: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._say, self._clock = name, say, clock
        self._started = self._said = clock()

    def count(self, done: int, total: int) -> None:
        """So many are done."""
        now = self._clock()
        if not 0 < done < total or now - self._said < EVERY_SECONDS:
            return
        self._said = now
        left = (now - self._started) / done * (total - done)
        self._say(f"{self._name}: {done}/{total} · {duration(left)} left")
