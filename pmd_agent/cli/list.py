"""pmd list"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def list_runs(
    runs: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where the runs are.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """The runs there are: how far each has come, and what it gained."""
    from pmd_agent.console import Console, percent
    from pmd_agent.evaluation.overview import overview

    console = Console()
    found = overview(runs)
    if as_json:
        for row in found:
            console.data(row)
        return
    if not found:
        console.info(f"There are no runs in {runs}. Start one: pmd run recipes/quickstart.yaml")
        return

    def accuracy(row: dict[str, Any], name: str) -> str:
        left_out = row[f"{name}_unchecked"]
        return percent(row[name]) + (f" ({percent(left_out)} unchecked)" if left_out else "")

    def cells(row: dict[str, Any]) -> list[object]:
        if row["state"] == "damaged":
            return [row["name"], row["state"], "", "", "", "", "", row["why"]]
        steps = f"{row['step']}/{row['steps'] or '?'}"
        return [
            row["name"], row["state"], row["method"], row["model"], steps,
            accuracy(row, "base"), accuracy(row, "final"), row["changed"],
        ]  # fmt: skip

    console.table(["run", "", "method", "model", "steps", "before", "after", "last written"], [cells(r) for r in found])
