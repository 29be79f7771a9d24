"""What a tracker is to a run, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pmd_agent.runs.changes import flat


@dataclass(frozen=True, slots=True)
class Told:
    """Of the run, what does not change while it goes."""

    id: str
    """The same for a run that is gone on with."""
    name: str
    folder: Path
    config: Mapping[str, Any]
    """The recipe's keys with dots, and its values."""


class Tracker(Protocol):
    """One service. Whatever it raises ends it, and nothing else."""

    def start(self, run: Told, next_step: int) -> None:
        """Go on where figures up to `next_step` are there already."""
        ...

    def log(self, step: int, figures: Mapping[str, float], samples: Sequence[Mapping[str, Any]]) -> None:
        """One committed step, counted from 1, and a few of its rollouts."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run is over; `summary` is flat, with numbers and texts."""
        ...


def figures(data: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in it, by flat names; what was not measured is left out."""
    return {
        name.replace(".", "/"): float(value)
        for name, value in flat(data)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
