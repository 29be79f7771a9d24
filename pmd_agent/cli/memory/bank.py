"""pmd memory export | import: a run's memory as one file, and a file as the memory of a run that has none yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pmd_agent.cli.arguments import Run
from pmd_agent.cli.memory.common import opened


def export(
    run: Run, to: Annotated[Path, typer.Option("--to", metavar="FILE", help="Ends in .jsonl or .parquet.")]
) -> None:
    """Write a run's memory to a file, with what it cites, for `memory.bank` of another recipe."""
    from pmd_agent.console import Console
    from pmd_agent.errors import MemoryStoreError
    from pmd_agent.memory.bank import export_bank

    if to.exists():
        raise MemoryStoreError(f"{to} is there already.", "Name another file, or remove it.")
    with opened(run) as (_, memory):
        count = export_bank(memory, to)
    Console().info(f"{count} entries in {to}")


def import_(
    run: Run, bank: Annotated[Path, typer.Argument(metavar="FILE", help="What `pmd memory export` wrote.")]
) -> None:
    """Read a bank into a run that remembers nothing yet; a new run reads one by `memory.bank` in its recipe."""
    from pmd_agent.assembly.memory import open_memory
    from pmd_agent.console import Console
    from pmd_agent.errors import RunError
    from pmd_agent.memory.bank import import_bank, read_bank
    from pmd_agent.runs.folder import RunDir

    directory = RunDir.open(run)
    if directory.next_step:
        raise RunError(
            f"{directory.path} has practised {directory.next_step} steps already.",
            "A bank is read before the first step.",
        )
    read_bank(bank)  # so that a bad file leaves no half of a memory
    with open_memory(directory.recipe, directory.memory_path) as memory:
        count = import_bank(memory, bank, trial=bool(directory.recipe.memory.lift.trial))
    Console().info(f"{count} entries from {bank}")
