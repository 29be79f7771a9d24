"""A report as Markdown, CSV, and one HTML page that needs nothing else."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.errors import RunError
from pmd_agent.reports.comparison import Cell, Report, Table
from pmd_agent.reports.plots import RANGES, learning_curves
from pmd_agent.runs.files import write_atomically

if TYPE_CHECKING:
    from jinja2 import Template

FILES = ("report.md", "report.csv", "report.html")


def write_report(report: Report, folder: Path, *, title: str, command: str) -> list[Path]:
    """Write the three files and return their paths. `command` is what prints these figures. Raises RunError."""
    contents = (markdown(report, title, command), table_csv(report), html(report, title, command))
    paths = [folder / name for name in FILES]
    try:
        for path, content in zip(paths, contents, strict=True):
            write_atomically(path, content.encode("utf-8"))
    except OSError as error:
        raise RunError(
            f"{folder} cannot hold a report: {error.strerror or error}.", "Give a folder with --to DIR, new or not."
        ) from error
    return paths


def markdown(report: Report, title: str, command: str) -> str:
    """Tables under headings."""
    parts = [f"# {title}", f"```sh\n{command}\n```", "\n".join(f"- {fact}" for fact in report.facts)]
    for table in report.tables:
        lines = [
            _row(table.columns),
            _row(["---"] * len(table.columns)),
            *(_row([shown(c) for c in r]) for r in table.rows),
        ]
        parts += [f"## {table.title}", "\n".join(lines), table.note]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_csv(report: Report) -> str:
    """One line a cell: table, arm, (row,) column, value. Long, so that every table fits into one file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "row", "arm", "column", "value"])
    for table in report.tables:
        for number, row in enumerate(table.rows):
            for column, cell in zip(table.columns[1:], row[1:], strict=True):
                writer.writerow([table.title, number, _inert(row[0]), column, "" if cell is None else _inert(cell)])
    return out.getvalue()


def _inert(cell: Cell) -> Cell:
    """A text that a spreadsheet would take for a formula, as text: what is compared may be called anything."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "@", "\t", "\r") else cell


def html(report: Report, title: str, command: str) -> str:
    """The page: what was run, the curves, the tables."""
    plots = [
        (caption, svg)
        for caption, svg in (
            ("Against rollouts", learning_curves(report.arms, "rollouts")),
            ("Against seconds of training", learning_curves(report.arms, "seconds")),
            ("With memory in the prompt", learning_curves(report.arms, "rollouts", with_memory=True)),
        )
        if svg
    ]
    return template("reports/comparison_page.html.jinja").render(
        title=title, command=command, report=report, plots=plots, shown=shown, is_number=_is_number, ranges=RANGES
    )


def template(name: str) -> Template:
    """A page's template, by its path in the package; what is put into it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("pmd_agent", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True).get_template(name)


def shown(cell: Cell) -> str:
    """A cell as text; a dash for what was not measured."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.3f}".rstrip("0").rstrip(".")
    return str(cell)


def _is_number(table: Table, column: int) -> bool:
    """Whether a column holds figures, which stand to the right."""
    cells = [row[column] for row in table.rows if row[column] is not None]
    return bool(cells) and all(isinstance(c, (int, float)) or str(c)[:1] in "+-0123456789" for c in cells)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
