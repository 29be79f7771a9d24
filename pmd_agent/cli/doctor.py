"""pmd doctor [RECIPE]"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pmd_agent.cli.arguments import recipes, settings


def doctor(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="[RECIPE]", help="Look at what this recipe needs as well.", autocompletion=recipes),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]", help="As for `pmd run`.", autocompletion=settings)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """Say what this machine can do, and what to type to mend each gap. Exits with 1 where there is a gap."""
    from pmd_agent.console import Console
    from pmd_agent.doctor import examine
    from pmd_agent.recipe import load_recipe

    checks = examine(load_recipe(recipe, overrides or []) if recipe is not None else None)
    console = Console()
    if as_json:
        for check in checks:
            console.data(asdict(check))
    else:
        console.table(["check", "", "found"], [[c.name, c.state, c.found] for c in checks])
        to_mend = [c for c in checks if c.mend]
        if to_mend:
            console.info("")
        for check in to_mend:
            console.info(f"{check.name}: {check.mend}")
    if any(check.state == "gap" for check in checks):
        raise typer.Exit(1)
