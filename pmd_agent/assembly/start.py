"""From a recipe to a running loop, step by step."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pmd_agent.assembly.given import Given
from pmd_agent.assembly.parts import mend_adapter, open_in, open_run_memory, prepare
from pmd_agent.assembly.programs import named
from pmd_agent.console import Console
from pmd_agent.errors import RunError
from pmd_agent.loop import practise
from pmd_agent.problems import as_rows, load_problems, read_given
from pmd_agent.recipe import Recipe, ScriptedPolicySection
from pmd_agent.recipe.problems import GivenProblems
from pmd_agent.runs.disk import told
from pmd_agent.runs.folder import PROBLEMS, RunDir
from pmd_agent.runs.lock import is_locked_here, unlock_folder
from pmd_agent.trackers import relay
from pmd_agent.types import Step

if TYPE_CHECKING:
    from pathlib import Path

    import dspy

    from pmd_agent.distillation.parallel import Team
    from pmd_agent.problems import ProblemSets


def start(
    recipe: Recipe,
    *,
    resume: bool = False,
    console: Console | None = None,
    reflector: dspy.Module | None = None,
    generaliser: dspy.Module | None = None,
) -> Path:
    """Run the recipe, from its start or its last commit, and return the run's folder. Raises PMDError.

    `reflector` and `generaliser` take the place of those that the recipe names; the run's record names their classes.
    Under torchrun, rank 0 does all of this, and the other processes learn with it (distill.parallel).
    """
    for _ in steps(recipe, Given(reflector=reflector, generaliser=generaliser), resume=resume, console=console):
        pass
    return recipe.runs / recipe.name


def steps(
    recipe: Recipe, given: Given, *, resume: bool = False, console: Console | None = None
) -> Generator[Step, None, None]:
    """Each step once it is committed; at the end the run is evaluated and summarised.

    Closing the iterator gives up the run's folder and what was loaded. Of torchrun's processes, all but rank 0 have no
    steps of their own.
    """
    console = console or Console()
    if recipe.distill.parallel == "none" and not os.environ.get("TORCHELASTIC_RUN_ID"):
        yield from _lead(recipe, given, resume, console, None)
        return
    from pmd_agent.distillation.build import build_trainer
    from pmd_agent.distillation.parallel import follow, joined
    from pmd_agent.models.loading import load_tokenizer

    with joined(recipe.distill.parallel) as team:
        if team.leads:
            yield from _lead(recipe, given, resume, console, team)
            return
        section = recipe.policy
        assert not isinstance(section, ScriptedPolicySection), "the recipe has seen to it"
        follow(build_trainer(recipe, section, load_tokenizer(section.model), team=team), team)


def _lead(
    recipe: Recipe, given: Given, resume: bool, console: Console, team: Team | None
) -> Generator[Step, None, None]:
    recipe = named(given.named(recipe), reflector=given.reflector, generaliser=given.generaliser, resume=resume)
    problems = _problems(recipe, given, resume)
    ready = prepare(recipe, problems, console, given, team)
    with told(recipe.runs / recipe.name), ExitStack() as opened:
        opened.callback(ready.policy.close)
        # Whatever can be wrong has been found before a folder is made.
        if resume:
            _check_ended(recipe)
        kept = as_rows(problems) if given.problems is not None else None
        if not is_locked_here(folder := recipe.runs / recipe.name):
            opened.callback(unlock_folder, folder)
        run = RunDir.resume(recipe) if resume else RunDir.create(recipe, kept)
        console.attach(run.log_path)
        for note in run.notes:
            console.warn(note)
        if run.finished:
            mend_adapter(run, ready, console)
            console.info(f"{run.path} is finished.")
        else:
            memory = opened.enter_context(open_run_memory(run, ready, console))
            trackers = relay(run, recipe.track, console.warn)
            parts = open_in(run, ready, memory)
            parts.show = console.during
            for step in practise(parts, run, console):
                trackers.step(step)
                yield step
            trackers.finish()
        console.summary(run.read_json("summary.json") or {}, run.path)


def _check_ended(recipe: Recipe) -> None:
    """Whether the adapter of a run that has ended fits its model, before anything says that the run is finished."""
    run = RunDir(recipe.runs / recipe.name, recipe)
    if isinstance(recipe.policy, ScriptedPolicySection) or not run.finished or not run.learns:
        return
    from pmd_agent.models.run_adapter import require_fit

    require_fit(run)


def _problems(recipe: Recipe, given: Given, resume: bool) -> ProblemSets:
    """Those given, those that the run's folder keeps, or those that the recipe names. Raises PMDError."""
    folder = recipe.runs / recipe.name
    if not (resume and isinstance(recipe.problems, GivenProblems) and (folder / "recipe.yaml").is_file()):
        return given.problems or load_problems(recipe.problems)
    kept = read_given(folder / PROBLEMS)
    if given.problems is not None and as_rows(given.problems) != as_rows(kept):
        raise RunError(
            f"{folder} was started with other problems than those given now.",
            "Leave them out, as the run's folder keeps them; or start another run.",
        )
    return kept
