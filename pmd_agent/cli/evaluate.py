"""pmd evaluate RUN"""

from __future__ import annotations

from typing import Annotated

import typer


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in runs/.")],
    base: Annotated[bool, typer.Option("--base", help="The model as it was before the run.")] = False,
    with_memory: Annotated[bool, typer.Option("--with-memory", help="With the run's memory in the prompt.")] = False,
    problems: Annotated[int | None, typer.Option(min=1, help="At most so many test problems of each kind.")] = None,
) -> None:
    """Measure a finished run's adapter on its test problems."""
    from pmd_agent.console import Console
    from pmd_agent.run_dir import RunDir

    console = Console()
    directory = RunDir.open(run)
    from pmd_agent.build import evaluate_run

    result = evaluate_run(directory, console=console, base=base, with_memory=with_memory, max_problems=problems)
    console.evaluation(("base" if base else "adapter") + (" with memory" if with_memory else ""), result)
