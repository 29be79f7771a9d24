"""pmd problems RECIPE"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmd_agent.cli.arguments import Overrides, RecipeFile

if TYPE_CHECKING:
    from pmd_agent.assembly.preview import Preview
    from pmd_agent.console import Console
    from pmd_agent.recipe import Recipe
    from pmd_agent.types import Problem

LISTED = 10


def problems(
    recipe: RecipeFile,
    overrides: Overrides = None,
    whole: Annotated[bool, typer.Option("--all", help=f"Lists have all entries, not the first {LISTED}.")] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Load the model, and measure which house rules it can follow.")
    ] = False,
    cases: Annotated[int, typer.Option(min=1, help="Tasks of each form that --probe tries.")] = 4,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, lists whole; of --probe one a line.")
    ] = False,
) -> None:
    """Look at a recipe's problems before a run: counts, lengths, prompts, repeated ones, and rows that do not fit."""
    from pmd_agent.console import Console
    from pmd_agent.recipe import load_recipe

    settings = load_recipe(recipe, overrides or [])
    console = Console()
    if probe:
        (_probe_as_json if as_json else _probe)(console, settings, cases)
        return
    from pmd_agent.assembly.preview import preview
    from pmd_agent.problems.parse_rows import Misfits

    listed = None if whole else LISTED
    try:
        found = preview(settings)
    except Misfits as error:
        if as_json:
            console.data({"skipped": error.reasons})
        else:
            _list(console, "rows that do not fit", error.reasons, None)
        raise
    if as_json:
        console.data(_as_data(settings, found))
    else:
        _show(console, settings, found, listed)


def _as_data(recipe: Recipe, found: Preview) -> dict[str, Any]:
    """All of it as plain data. Counts are by kind."""
    splits = ("training", "validation", "test")
    return {
        "counts": {kind: dict(zip(splits, counts, strict=True)) for kind, *counts in found.counts},
        "verifier": recipe.problems.verifier,
        "prompts": [{"id": p.id, "text": text, "checked_against": _compared(p)} for p, text in found.prompts],
        "lengths": {
            "unit": found.unit,
            "counted_by": found.counted_by,
            "limit": recipe.rollout.max_prompt_tokens,
            "splits": [asdict(lengths) for lengths in found.lengths],
        },
        "overlaps": {name: [asdict(each) for each in repeats] for name, repeats in found.overlaps.items()},
        "skipped": found.skipped,
        "odd": found.odd,
    }


def _probe_as_json(console: Console, recipe: Recipe, cases: int) -> None:
    from pmd_agent.assembly.probe import probe

    for each in probe(recipe, console, cases=cases):
        console.data(asdict(each))


def _show(console: Console, recipe: Recipe, found: Preview, listed: int | None) -> None:
    for number, (problem, prompt) in enumerate(found.prompts, start=1):
        console.info(f"---- prompt {number} of {len(found.prompts)}: {problem.id}")
        console.info(prompt.rstrip("\n"))
        console.info(f"---- checked by {recipe.problems.verifier}: {_compared(problem)}")
        console.info("")
    console.table(["problems", "training", "validation", "test"], found.counts)
    console.info("")
    for line in found.odd:
        console.warn(line)
    limit = f"rollout.max_prompt_tokens is {recipe.rollout.max_prompt_tokens}"
    console.info(f"{found.unit} of a prompt ({found.counted_by}; {limit})")
    console.table(
        ["", "shortest", "median", "95 %", "longest", "too long"],
        [[n.split, n.shortest, n.median, n.most, n.longest, len(n.too_long)] for n in found.lengths],
    )
    console.info("")
    _list(console, "too long, left out of a run", [i for n in found.lengths for i in n.too_long], listed)
    for name, repeats in found.overlaps.items():
        lines = [" = ".join(r.ids) + (" (with different answers)" if r.answers else "") for r in repeats]
        _list(console, f"prompts {name}", lines, listed)
    _list(console, "rows that do not fit", found.skipped, listed)


def _probe(console: Console, recipe: Recipe, cases: int) -> None:
    """What to leave out of problems.conventions is written as it stands in a recipe."""
    from pmd_agent.assembly.probe import FOLLOWED, followed, probe
    from pmd_agent.console import percent

    found = probe(recipe, console, cases=cases)
    rows = [[p.convention, p.form, percent(p.untold), percent(p.told), percent(p.among)] for p in found]
    among = [p.among for p in found if p.among is not None]
    shares = [[p.untold for p in found], [p.told for p in found], among]
    rows.append(["all", "", *(percent(sum(of) / len(of)) for of in shares)])
    console.table(["convention", "form", "untold", "told its rule", "told all rules"], rows)
    console.info("")
    names = followed(found)
    can = sum(p.told >= FOLLOWED for p in found)
    console.info(f"followed when told (in {percent(FOLLOWED)} or more): {can} of {len(found)} forms")
    if not names:
        console.warn("This model follows none of them: no memory can teach it. Choose a larger one.")
    elif can < len(found):
        console.info(f"to leave out the others:\n  problems:\n    conventions: [{', '.join(names)}]")
        kinds = len({name.partition("/")[0] for name in names})
        if kinds < recipe.problems.rules:  # type: ignore[union-attr]
            console.warn(f"These are {kinds} conventions: set problems.rules to {kinds} or less.")


def _list(console: Console, name: str, lines: Sequence[str], listed: int | None) -> None:
    """Also says that there is none."""
    console.info(f"{name}: {len(lines) or 'none'}")
    for line in lines[:listed]:
        console.info(f"  {line}")
    if listed is not None and len(lines) > listed:
        console.info(f"  ... and {len(lines) - listed} more (--all)")


def _compared(problem: Problem) -> str:
    """What an answer is compared with, in a line."""
    if problem.answer is not None:
        return problem.answer
    if "tests" in problem.data:
        return f"{len(problem.data['tests'])} tests"
    return "its tests" if "check" in problem.data else "nothing that the problem brings"
