"""pmd report RUN --to FILE"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pmd_agent.cli.arguments import Run


def report(
    run: Run,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="An HTML page; it is replaced where it is there.")],
) -> None:
    """A run on one page that needs nothing else: curves, attempts, answers before and after, memory."""
    from pmd_agent.assembly.run_page import source_of
    from pmd_agent.console import Console
    from pmd_agent.errors import RunError
    from pmd_agent.reports.run_page.page import report as page_of
    from pmd_agent.runs.files import write_atomically
    from pmd_agent.runs.folder import RunDir

    console = Console()
    directory = RunDir.open(run)
    with console.stage("reading the run"):
        page = page_of(source_of(directory, console.warn)).encode("utf-8", "replace")
    try:
        write_atomically(to, page)
    except OSError as error:
        raise RunError(f"{to} cannot be written: {error.strerror or error}.", "Name another file.") from error
    console.info(f"{to}: {len(page) / 1e6:.1f} MB; open it in a browser")
