"""pmd bench memory: how fast the memory is on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Measure this machine.")


@app.callback()
def bench() -> None:
    """Measure this machine."""


@app.command()
def memory(
    entries: Annotated[
        list[int] | None, typer.Option(min=10, help="Sizes, one after the other. Default: 1000, 10000.")
    ] = None,
) -> None:
    """Recall, writes, disk and cold start of a memory on Chroma, embeddings given, beside bare Chroma."""
    from pmd_agent.console import Console
    from pmd_agent.memory.bench import measure

    console = Console()
    rows = []
    for size in entries or [1_000, 10_000]:
        with tempfile.TemporaryDirectory(prefix="pmd-bench-") as folder, console.stage(f"{size} entries"):
            r = measure(Path(folder), size)
        rows.append(
            (
                size,
                f"{1000 * r.median:.1f}",
                f"{1000 * r.worst:.1f}",
                f"{r.written_per_second:.0f}",
                f"{r.ratio:.2f}",
                f"{r.bytes_per_entry:.0f}",
                f"{r.bare_bytes_per_entry:.0f}",
                f"{r.opened:.2f}",
                f"{r.first:.2f}",
                f"{r.bare_first:.2f}",
            )
        )
    columns = (
        "entries",
        "recall p50 ms",
        "p99 ms",
        "writes/s",
        "of bare",
        "bytes",
        "bare bytes",
        "open s",
        "first recall s",
        "bare first s",
    )
    console.table(columns, rows)
