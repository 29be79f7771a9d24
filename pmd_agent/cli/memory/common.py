"""What the commands of `pmd memory` share: a run's memory, opened, and an entry in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.types import Experience, Insight, Tier

if TYPE_CHECKING:
    from pmd_agent.memory import Entry, Memory
    from pmd_agent.runs.folder import RunDir

OfTier = Annotated[Tier | None, typer.Option(help="Only this tier.")]


@contextmanager
def opened(run: str) -> Iterator[tuple[RunDir, Memory]]:
    """A run and its memory as the last commit left it. Raises RunError where it has none."""
    from pmd_agent.assembly.memory import read_memory
    from pmd_agent.runs.folder import RunDir

    directory = RunDir.open(run)
    with read_memory(directory, all_tiers=True) as memory:
        yield directory, memory


def about(entry: Entry) -> str:
    if isinstance(entry, Experience):
        return f"{entry.problem_id} {'right' if entry.correct else 'wrong'}"
    if isinstance(entry, Insight):
        return f"{entry.problem_id} {entry.kind}"
    return f"{entry.name} ({entry.support_in_words})"
