"""pmd evaluate RUN"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.cli.arguments import Run, recipes

if TYPE_CHECKING:
    from pmd_agent.console import Console
    from pmd_agent.runs.folder import RunDir


def evaluate(
    run: Run,
    base: Annotated[bool, typer.Option("--base", help="The model as it was before the run.")] = False,
    with_memory: Annotated[bool, typer.Option("--with-memory", help="With the run's memory in the prompt.")] = False,
    problems: Annotated[int | None, typer.Option(min=1, help="At most so many test problems of each kind.")] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            metavar="RECIPE",
            help="Before and after the run, on another recipe's test problems; the result is kept.",
            autocompletion=recipes,
        ),
    ] = None,
) -> None:
    """Measure a finished run's adapter on its test problems, or on others."""
    from pmd_agent.console import Console
    from pmd_agent.runs.folder import RunDir

    if on is not None and (base or with_memory):
        raise typer.BadParameter(
            "--on measures the base and the adapter, both without memory: leave --base and --with-memory out."
        )
    console = Console()
    directory = RunDir.open(run)
    from pmd_agent.assembly.evaluate import evaluate_run
    from pmd_agent.evaluation.scores import accuracy

    if on is not None:
        _elsewhere(directory, on, problems, console)
        return
    found = evaluate_run(directory, console=console, base=base, with_memory=with_memory, max_problems=problems)
    console.evaluation(("base" if base else "adapter") + (" with memory" if with_memory else ""), accuracy(found))


def _elsewhere(run: RunDir, path: Path, problems: int | None, console: Console) -> None:
    """What practising one thing did to another: both ends of the run, kept for `pmd export`'s certificate."""
    from pmd_agent.assembly.evaluate import evaluate_run
    from pmd_agent.evaluation.certificate import certificate, change
    from pmd_agent.evaluation.finished_runs import ELSEWHERE, read_run
    from pmd_agent.evaluation.scores import accuracy
    from pmd_agent.recipe import load_recipe

    other = load_recipe(path)
    run.require_writable()
    for name, base in (("base", True), ("final", False)):
        found = evaluate_run(run, console=console, base=base, with_memory=False, max_problems=problems, on=other)
        run.write_lines(f"evaluation/{ELSEWHERE}/{other.name}/{name}.jsonl", [each.record() for each in found])
        console.evaluation("adapter" if name == "final" else name, accuracy(found))
    console.info(f"{other.name}: {change(certificate(read_run(run.path))['elsewhere'][other.name])}")
