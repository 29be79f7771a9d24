"""pmd run RECIPE"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.cli.arguments import Overrides, RecipeFile

if TYPE_CHECKING:
    from pmd_agent.recipe import Recipe


def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="The run's folder is runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print every setting and stop.")] = False,
    fresh_name: Annotated[bool, typer.Option("--fresh-name", help="Where the name is taken, add -2, -3, ...")] = False,
) -> None:
    """Practise, remember and distil, as a recipe says."""
    from pmd_agent.console import Console
    from pmd_agent.errors import OutputError
    from pmd_agent.recipe import dump_recipe, load_recipe

    if resume and fresh_name:
        raise typer.BadParameter("--resume goes on with a run, --fresh-name starts another: give one of the two.")
    settings = _named(load_recipe(recipe, overrides or []), name, fresh_name)
    console = Console()
    if dry_run:
        console.info(dump_recipe(settings).rstrip())
        return
    from pmd_agent.assembly.start import start

    begun = settings.runs / settings.name / "recipe.yaml"
    command = shlex.join(["pmd", "run", str(recipe), *(overrides or []), "--name", settings.name, "--resume"])
    try:
        start(settings, resume=resume, console=console)
    except OutputError as error:
        if not begun.is_file():
            raise
        raise OutputError(
            f"{error.message} The run has stopped.", f"To go on from the last checkpoint: {command}"
        ) from None
    except KeyboardInterrupt:
        if begun.is_file():
            console.warn(f"stopped; to go on from the last checkpoint: {command}")
        else:
            console.warn("stopped before the run began")
        raise typer.Exit(130) from None


def _named(recipe: Recipe, name: str | None, fresh: bool) -> Recipe:
    """The recipe under the name that was asked for."""
    from pmd_agent.recipe import parse_recipe
    from pmd_agent.runs.folder import fresh_name

    wanted = recipe.name if name is None else name
    if fresh:
        wanted = fresh_name(recipe.runs, wanted)
    return (
        recipe if wanted == recipe.name else parse_recipe(recipe.model_dump(mode="json") | {"name": wanted}, "--name")
    )
