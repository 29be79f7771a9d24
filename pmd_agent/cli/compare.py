"""pmd compare RUN ..."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.cli.arguments import runs as names_of_runs

if TYPE_CHECKING:
    from pmd_agent.console import Console
    from pmd_agent.reports.comparison import Report


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Runs, their names in runs/, or a folder of runs.", autocompletion=names_of_runs
        ),
    ],
    against: Annotated[
        str | None, typer.Option(help="The arm that the others are compared with; the first one.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Also write report.md, report.csv and report.html there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The tables as one JSON object.")] = False,
) -> None:
    """Finished runs beside each other, with paired differences and 95 % intervals."""
    from pmd_agent.console import Console
    from pmd_agent.evaluation.arms import group_by_arm
    from pmd_agent.evaluation.finished_runs import read_runs
    from pmd_agent.reports.comparison import as_data
    from pmd_agent.reports.comparison import compare as compare_arms
    from pmd_agent.reports.comparison_page import write_report
    from pmd_agent.runs.files import to_json

    console = Console()
    finished, unfinished = read_runs(runs)
    for name in unfinished:
        console.warn(f"{name} is not finished and left out")
    left_out = [f"{len(unfinished)} unfinished runs are left out."] if unfinished else []
    report = compare_arms(group_by_arm(finished), against, left_out)
    if as_json:
        console.info(to_json(as_data(report)).decode())
    else:
        show(report, console)
    if to is not None:
        command = shlex.join(["pmd", "compare", *runs, *(["--against", against] if against else []), "--to", str(to)])
        for path in write_report(report, to, title=f"{len(report.arms)} arms compared", command=command):
            if not as_json:
                console.info(f"written: {path}")


def show(report: Report, console: Console) -> None:
    """A report on the terminal."""
    from pmd_agent.reports.comparison_page import shown

    for table in report.tables:
        console.info("")
        console.info(table.title)
        console.table(table.columns, [[shown(cell) for cell in row] for row in table.rows])
        if table.note:
            console.info(table.note)
    console.info("")
    for fact in report.facts:
        console.info(fact)
