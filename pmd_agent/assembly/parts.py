"""The parts of a run, in two halves: what needs no folder, where most mistakes show, and what lives in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from pmd_agent.assembly.given import Given
from pmd_agent.assembly.memory import build_embedder, open_memory
from pmd_agent.assembly.policy import build_policy
from pmd_agent.assembly.problems import fitting
from pmd_agent.assembly.programs import Programs, build_programs
from pmd_agent.console import Console
from pmd_agent.environment import Environments
from pmd_agent.errors import RunError
from pmd_agent.memory import Embedder, Memory
from pmd_agent.memory.bank import generation_of, import_bank, read_bank, take_back
from pmd_agent.policies import Policy
from pmd_agent.problems import ProblemSets
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.problems.traces import traces_of
from pmd_agent.recipe import Recipe
from pmd_agent.runs.attempts_ahead import read_ahead
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.whole import damage
from pmd_agent.stages import Parts, publish_adapter
from pmd_agent.verifiers import CodeVerifier, Verifier, verifier_of

if TYPE_CHECKING:
    from pathlib import Path

    from pmd_agent.distillation.parallel import Team
    from pmd_agent.distillation.trainer import Trainer


FEW = 30
"""Test problems below which a run says so."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run before it has a folder."""

    recipe: Recipe
    steps: int
    problems: ProblemSets
    """Those that the policy can read."""
    curriculum: Curriculum
    policy: Policy
    trainer: Trainer | None
    context: int
    verifier: Verifier
    embedder: Embedder
    programs: Programs
    environments: Environments | None = None


def prepare(
    recipe: Recipe, problems: ProblemSets, console: Console, given: Given, team: Team | None = None
) -> Prepared:
    """Build all that needs no folder. Raises PMDError for whatever is wrong with it."""
    programs = build_programs(recipe, reflector=given.reflector, generaliser=given.generaliser)
    if recipe.memory.bank is not None:
        read_bank(recipe.memory.bank)  # what is wrong with it is said now
    embedder = build_embedder(recipe.memory.embedder)
    verifier = given.check(recipe) or build_verifier(recipe, console)
    environments = given.environments(recipe)
    policy, trainer, context = build_policy(recipe, console, team)
    _warn(recipe, console)
    if environments is not None and (odd := departure(policy)):
        console.warn(odd)
    problems = fitting(recipe, problems, policy, console)
    curriculum = Curriculum(problems.train, recipe.rollout.problems, recipe.seed, shuffle=recipe.rollout.shuffle)
    if curriculum.size < recipe.rollout.problems:
        console.warn(
            f"there are only {curriculum.size} problems for a step, and not rollout.problems={recipe.rollout.problems}"
        )
    if problems.test and len(problems.test) < FEW:
        console.warn(f"{len(problems.test)} test problems are few: accuracies will be uncertain by tens of points")
    steps = recipe.steps or recipe.epochs * curriculum.steps_per_epoch
    if trainer is not None:
        trainer.total_steps = steps
    return Prepared(
        recipe, steps, problems, curriculum, policy, trainer, context, verifier, embedder, programs, environments
    )


def open_in(run: RunDir, ready: Prepared, memory: Memory) -> Parts:
    """The parts with what the run's last commit left: memory, weights, history."""
    generation = generation_of(memory)
    programs = ready.programs.open_in(run)
    if run.checkpoint is not None and ready.trainer is not None:
        load_state(ready.trainer, run.checkpoint)
    ready.policy.attach(run.path)
    if ready.trainer is not None and ready.recipe.distill.profile:
        ready.trainer.profiler.folder = run.path
    first = None
    if ready.trainer is not None and not ready.policy.shares_weights and run.next_step:
        first = publish_adapter(ready.trainer, run.path / "adapters", run.next_step)
    ready.policy.load(first, run.next_step)
    return Parts(
        recipe=ready.recipe,
        steps=ready.steps,
        curriculum=ready.curriculum,
        train=ready.problems.train,
        validation=ready.problems.validation,
        test=ready.problems.test,
        policy=ready.policy,
        verifier=ready.verifier,
        memory=memory,
        embedder=ready.embedder,
        reflector=programs.reflector,
        generaliser=programs.generaliser,
        trainer=ready.trainer,
        context=ready.context,
        environments=ready.environments,
        traces=traces_of(ready.problems.train, ready.recipe.rollout.success_threshold),
        prefix=f"g{generation}/" if generation else "",
        ahead=read_ahead(run.checkpoint) if run.checkpoint is not None else {},
        first_step=run.next_step,
        history=[row for row in run.metrics() if row["step"] < run.next_step],
    )


def load_state(trainer: Trainer, checkpoint: Path) -> None:
    """What training goes on from. Raises RunError where it cannot be read, PolicyError where it does not fit."""
    from pmd_agent.models.loading import first_line

    try:
        trainer.load(checkpoint)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError) as error:
        raise RunError(
            f"{checkpoint} is damaged: {first_line(error)}.", "Restore it from a copy, or start another run."
        ) from error


def mend_adapter(run: RunDir, ready: Prepared, console: Console) -> None:
    """The adapter of a run that has ended, made again where it is damaged: from the checkpoint, which resuming has looked at."""
    if ready.trainer is None or run.checkpoint is None or not (reason := damage(run.adapter_path)):
        return
    console.warn(f"{run.adapter_path} is damaged ({reason}): it is made again from {run.checkpoint.name}")
    load_state(ready.trainer, run.checkpoint)
    run.write_folder(run.adapter_path.name, ready.trainer.save_adapter)


def open_run_memory(run: RunDir, ready: Prepared, console: Console) -> Memory:
    """The memory as the last commit left it, and before the first step with the recipe's bank in it."""
    kept = ready.recipe.memory
    memory = open_memory(ready.recipe, run.memory_path, ready.embedder)
    memory.rollback(run.next_step)
    if not run.next_step and take_back(memory):
        console.warn("an import into this run's memory was killed before its end and has been taken back: import again")
    if kept.bank is not None and not run.next_step and not memory.noted("bank"):
        count = import_bank(memory, kept.bank, trial=bool(kept.lift.trial))
        console.info(f"{count} memories from the bank {kept.bank}")
    return memory


def departure(policy: Policy) -> str:
    """A line where a conversation cannot be what the chat template makes of it as a whole; empty else."""
    turns = getattr(policy, "turns", None)
    found = turns.departure() if turns is not None else ""
    return (
        f"episodes go on from exact token ids, which the chat template would not write so: it {found}" if found else ""
    )


def build_verifier(recipe: Recipe, console: Console) -> Verifier:
    """The verifier that the recipe names; one that runs programs says what protects. Raises PMDError."""
    verifier = verifier_of(recipe.problems, recipe.rollout.success_threshold)
    if isinstance(verifier, CodeVerifier):
        on = verifier.protections()
        console.info(f"sandbox: {', '.join(name for name in on if on[name])}")
        if missing := [name for name in on if not on[name]]:
            console.warn(f"the sandbox is without: {', '.join(missing)} (docs/sandbox.md)")
    return verifier


def _warn(recipe: Recipe, console: Console) -> None:
    """Of settings that may not be as wanted."""
    if recipe.pipeline.lm.model is not None:
        from pmd_agent.pipelines import outside_lm

        # A key that is missing is missed now.
        outside_lm(**recipe.pipeline.lm.model_dump(), temperature=0.0, max_tokens=1)
        console.warn(f"{recipe.pipeline.lm.model} writes the memory (pipeline.lm): it is not the policy's own.")
    if getattr(recipe.policy, "thinking", False):
        console.warn("policy.thinking is on: thinking models are reported to lose up to 17 % under self-distillation.")
