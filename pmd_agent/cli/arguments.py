"""Arguments that several commands have, and what a shell may complete them to. Nothing heavy is imported to complete one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

RUNS = Path("runs")


def runs(incomplete: str) -> list[str]:
    """Names of runs in runs/, those written last first, and runs' folders from here on."""
    found = sorted(RUNS.glob("*/recipe.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    names = [path.parent.name for path in found if path.parent.name.startswith(incomplete)]
    return names + list(_below(incomplete, lambda path: path.is_dir()))


def recipes(incomplete: str) -> list[str]:
    """YAML files, and folders on the way to them."""
    return list(_below(incomplete, lambda path: path.is_dir() or path.suffix in (".yaml", ".yml")))


def settings(incomplete: str) -> list[str]:
    """A recipe's keys, one section at a time; of a key that has them, its choices."""
    from pmd_agent.recipe import Recipe
    from pmd_agent.recipe.keys import completions

    return [found for found in completions(Recipe) if found.startswith(incomplete)]


def _below(incomplete: str, fits: Callable[[Path], bool]) -> Iterator[str]:
    """Paths that begin so; folders end with a slash."""
    head, slash, name = incomplete.rpartition("/")
    folder = Path(head + slash or ".").expanduser()
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        hidden = entry.name.startswith(".") and not name.startswith(".")
        if entry.name.startswith(name) and not hidden and fits(entry):
            yield head + slash + entry.name + "/" * entry.is_dir()


A_RUN = "A run's folder, or its name in runs/."
Run = Annotated[str, typer.Argument(metavar="RUN", help=A_RUN, autocompletion=runs)]
RecipeFile = Annotated[
    Path,
    typer.Argument(metavar="RECIPE", help="A YAML file, such as recipes/quickstart.yaml.", autocompletion=recipes),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Settings for this time, such as distill.lr=1e-4.", autocompletion=settings
    ),
]
