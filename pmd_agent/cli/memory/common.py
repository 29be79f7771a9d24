"""What the commands of `pmd memory` share: a run's memory, opened, and an entry in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.types import TIERS, Experience, Insight, Tier

if TYPE_CHECKING:
    from pmd_agent.memory import Entry, Memory
    from pmd_agent.runs.folder import RunDir

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in runs/.")]
OfTier = Annotated[Tier | None, typer.Option(help="Only this tier.")]


@contextmanager
def opened(run: str) -> Iterator[tuple[RunDir, Memory]]:
    """A run and its memory. Raises RunError where it has none, MemoryStoreError where the run is still going."""
    from pmd_agent.errors import RunError
    from pmd_agent.runs.folder import RunDir

    directory = RunDir.open(run)
    recipe, note = directory.recipe, directory.read_json("memory/memory.json")
    if note is None and recipe.memory.server is None:
        raise RunError(f"{directory.path} has no memory.", "A run keeps one if memory.tiers and memory.persist say so.")
    from pmd_agent.assembly.memory import open_memory

    # All that is stored can be looked at, whatever the run reads of it.
    recipe = recipe.model_copy(update={"memory": recipe.memory.model_copy(update={"tiers": TIERS})})
    with open_memory(recipe, directory.memory_path) as memory:
        # On a server the run may be in the middle of a step; here it is not: this process has the lock.
        if not memory.shared:
            memory.rollback(directory.next_step)
        yield directory, memory


def about(entry: Entry) -> str:
    if isinstance(entry, Experience):
        return f"{entry.problem_id} {'right' if entry.correct else 'wrong'}"
    if isinstance(entry, Insight):
        return f"{entry.problem_id} {entry.kind}"
    return f"{entry.name} ({entry.support_in_words})"
