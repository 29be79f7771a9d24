"""A small run of episodes, to be killed: a module of its own, which the processes import that run it."""

from __future__ import annotations

import os
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.processes import forked, into

SMALL = [
    "steps=4", "problems.train=4", "problems.test=2", "problems.validation=1", "rollout.problems=2", "rollout.samples=2",
    "pipeline.every=2", "evaluate.every=2", "evaluate.with_memory=false", "distill.updates=1", "pipeline.max_tokens=96",
]  # fmt: skip
RECIPE = Path(__file__).parents[2] / "recipes" / "episodes.yaml"


def work(runs: str, resume: bool) -> None:
    """From its beginning, or on from its last commit, to its end."""
    into(os.devnull, os.devnull)
    from pmd_agent.assembly.start import start
    from pmd_agent.recipe import load_recipe

    start(load_recipe(RECIPE, [*SMALL, f"runs={runs}"]), resume=resume)


def begun(folder: Path) -> ForkServerProcess:
    """The run in this folder, in a process that is forked from one which has imported everything."""
    return forked(work, str(folder.parent), (folder / "recipe.yaml").is_file())
