"""pmd sweep FILE"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmd_agent.cli.arguments import recipes

if TYPE_CHECKING:
    from pmd_agent.console import Console
    from pmd_agent.sweep import Sweep


class Seeds(StrEnum):
    """Which of a sweep's seeds."""

    validate = "validate"
    report = "report"


def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A sweep, such as recipes/mechanism.yaml.", autocompletion=recipes)
    ],
    arms: Annotated[str, typer.Option(help="Only these arms, separated by commas.")] = "",
    seeds: Annotated[Seeds, typer.Option(help="Which of the sweep's seeds.")] = Seeds.report,
    tune: Annotated[
        bool, typer.Option("--tune", help="Search every arm's grid on the seeds for tuning first.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at one time. Default: one a core, at most 8.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and stop.")] = False,
) -> None:
    """Run arms times seeds of one recipe, and compare them. The same command goes on where it was stopped."""
    from pmd_agent.console import Console
    from pmd_agent.sweep import load_sweep, run_all, runs_of

    console = Console()
    plan = load_sweep(file)
    side_by_side = jobs or min(8, len(os.sched_getaffinity(0)))
    only = [name for each in arms.split(",") if (name := each.strip())]
    same = ["pmd", "sweep", str(file), *(["--arms", ",".join(only)] if only else [])]
    same += ["--seeds", seeds.value] if seeds is not Seeds.report else []
    if tune:
        with _stoppable(console, shlex.join([*same, "--tune"])):
            _tune(plan, console, side_by_side, dry_run)
        if dry_run:
            return
    tuned = _tuned(plan)
    if searched := [name for name, arm in plan.arms.items() if arm.tune and name not in tuned]:
        console.warn(
            f"the grids of {', '.join(searched)} have not been searched (--tune): the recipe's own values are taken"
        )
    wanted = runs_of(plan, seeds.value, only, {k: v["chosen"] for k, v in tuned.items()})
    if dry_run:
        for run in wanted:
            console.info(shlex.join(["pmd", "run", str(plan.recipe), *run.overrides]))
        return
    with _stoppable(console, shlex.join(same)):
        run_all(wanted, plan.recipe, console, jobs=side_by_side)
    # A part of the sweep does not take the place of the whole one's report.
    part = [seeds.value] * (seeds is not Seeds.report) + only
    folder = plan.folder / "-".join(["report", *part]) if part else plan.folder
    _report(plan, [str(run.path) for run in wanted], tuned, console, folder, shlex.join(same))


@contextmanager
def _stoppable(console: Console, command: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM alike end the runs that were started, and say how to go on."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        console.warn(f"stopped; to go on: {command}")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _tune(plan: Sweep, console: Console, jobs: int, dry_run: bool) -> None:
    from pmd_agent.errors import RecipeError
    from pmd_agent.recipe.yaml import write_yaml
    from pmd_agent.runs.files import write_atomically
    from pmd_agent.sweep import choose, run_all, tuning_runs

    tried = tuning_runs(plan)
    runs = [run for _, _, of_one in tried for run in of_one]
    if not runs:
        raise RecipeError("The sweep has nothing to tune.", "Give arms a `tune:` grid, and seeds.tune.")
    console.info(f"tuning: {len(tried)} configurations on seeds {', '.join(map(str, plan.seeds.tune))}")
    if dry_run:
        for run in runs:
            console.info(shlex.join(["pmd", "run", str(plan.recipe), *run.overrides]))
        return
    run_all(runs, plan.recipe, console, jobs=jobs)
    chosen = choose(tried)
    write_atomically(plan.folder / "tuned.yaml", write_yaml(chosen).encode())
    for name, entry in chosen.items():
        console.info(f"{name}: {entry['chosen']} of {len(entry['tried'])} configurations")


def _tuned(plan: Sweep) -> dict[str, Any]:
    from pmd_agent.errors import RecipeError
    from pmd_agent.recipe.yaml import read_yaml
    from pmd_agent.sweep.tune import is_of

    file = plan.folder / "tuned.yaml"
    tuned = read_yaml(file) if file.is_file() else {}
    if tuned and not is_of(plan, tuned):
        raise RecipeError(
            f"{file} was chosen from other grids or seeds than there are now.",
            "Run it with --tune, or remove that file.",
        )
    return tuned


def _choice(plan: Sweep, tuned: dict[str, Any]) -> str:
    if not tuned and any(arm.tune for arm in plan.arms.values()):
        return "This sweep has grids that were not searched: every arm has the values of its recipe and of the file."
    if not tuned:
        return "This sweep chose no settings: those of its file were chosen elsewhere."
    tried = sum(len(entry["tried"]) for entry in tuned.values())
    seeds = ", ".join(map(str, plan.seeds.tune))
    return f"Settings were chosen on seeds {seeds}: {tried} configurations were tried by the sweep itself ({', '.join(tuned)})."


def _report(plan: Sweep, paths: list[str], tuned: dict[str, Any], console: Console, folder: Path, command: str) -> None:
    from pmd_agent.cli.compare import show
    from pmd_agent.evaluation.arms import group_by_arm
    from pmd_agent.evaluation.finished_runs import read_runs
    from pmd_agent.reports.comparison import compare
    from pmd_agent.reports.comparison_page import write_report

    finished, _ = read_runs(paths)
    arms = group_by_arm(finished)
    facts = [_choice(plan, tuned)]
    known = {arm.name for arm in arms}
    report = compare(arms, plan.reference if plan.reference in known else None, facts)
    show(report, console)
    for path in write_report(report, folder, title=f"Sweep {plan.name}", command=command):
        console.info(f"written: {path}")
