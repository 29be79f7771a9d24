"""pmd export RUN --to DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pmd_agent.cli.arguments import Run


def export(
    run: Run,
    to: Annotated[Path, typer.Option(metavar="DIR", help="A folder that is not there yet, or empty.")],
    merge: Annotated[bool, typer.Option("--merge", help="Whole weights instead of an adapter.")] = False,
) -> None:
    """Write what was learnt as files that transformers and peft load without pmd."""
    from pmd_agent.console import Console
    from pmd_agent.runs.folder import RunDir

    directory = RunDir.open(run)
    from pmd_agent.export import export_run

    console = Console()
    folder = export_run(directory, to, merge=merge, say=console.warn)
    console.info(f"{folder}: {'a whole model' if merge else 'an adapter'}; its README.md says how to load it")
