"""A run's policy on test problems, after the run or beside it. Nothing is written, so no program is built."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from pmd_agent.assembly.given import Check, Given
from pmd_agent.assembly.memory import read_memory
from pmd_agent.assembly.parts import build_verifier
from pmd_agent.assembly.policy import frozen_policy
from pmd_agent.assembly.problems import fitting, problems_of
from pmd_agent.console import Console
from pmd_agent.evaluation.scores import Outcome
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.models.run_adapter import adapter_of
from pmd_agent.problems import ProblemSets, load_problems
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.recipe import Recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.stages import Metrics, Parts, evaluate


def evaluate_run(
    run: RunDir,
    *,
    console: Console,
    base: bool,
    with_memory: bool,
    max_problems: int | None,
    on: Recipe | None = None,
    problems: ProblemSets | None = None,
    verifier: Check | None = None,
    environment: Any = None,
) -> list[Outcome]:
    """A run's adapter (or its base) on its test problems, on those given, or on those of `on`, checked as that one says.

    `with_memory` reads the run's memory in the prompt. One outcome a problem.
    """
    recipe = run.recipe if on is None else run.recipe.model_copy(update={"problems": on.problems})
    if max_problems is not None:
        limited = recipe.evaluate.model_copy(update={"max_problems": max_problems})
        recipe = recipe.model_copy(update={"evaluate": limited})
    sets = problems or (problems_of(run) if on is None else load_problems(on.problems))
    with ExitStack() as opened:
        found = None if base else opened.enter_context(adapter_of(run, "evaluate --base", console.warn))
        adapter = found.folder if found else None
        given = Given(verifier=verifier, environment=environment)
        check = given.check(recipe) or build_verifier(recipe, console)
        policy, context = frozen_policy(recipe, adapter, console)
        opened.callback(policy.close)
        sets = fitting(recipe, sets, policy, console)
        memory = opened.enter_context(read_memory(run) if with_memory else Memory.ephemeral(HashingEmbedder()))
        policy.attach(run.path)
        policy.load(adapter, found.step if found else run.next_step)
        parts = Parts(
            recipe=recipe,
            steps=0,
            curriculum=Curriculum(sets.train or sets.test, recipe.rollout.problems, recipe.seed),
            train=sets.train,
            validation=sets.validation,
            test=sets.test,
            policy=policy,
            verifier=check,
            memory=memory,
            embedder=HashingEmbedder(),
            reflector=None,
            generaliser=None,
            trainer=None,
            context=context,
            environments=given.environments(recipe),
        )
        with console.stage(f"evaluating on {len(parts.test)} problems"):
            return evaluate(parts, Metrics(-1), parts.test, with_memory)
