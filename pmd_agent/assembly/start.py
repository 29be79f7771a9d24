"""From a recipe to a running loop: the only place where all parts are known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_agent.assembly.memory import build_embedder, open_memory
from pmd_agent.console import Console
from pmd_agent.distillation.teacher_prompt import student_messages
from pmd_agent.errors import ProblemError, RunError
from pmd_agent.evaluation.scores import Outcome
from pmd_agent.loop import practise
from pmd_agent.memory.bank import generation_of, import_bank, read_bank, take_back
from pmd_agent.policies import Policy
from pmd_agent.problems import ProblemSets, first_of_each_kind, load_problems
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.problems.overlap import shared
from pmd_agent.recipe import Recipe, ScriptedPolicySection, VllmPolicySection
from pmd_agent.runs.folder import RunDir
from pmd_agent.stages import Metrics, Parts, evaluate, publish_adapter
from pmd_agent.types import Problem
from pmd_agent.verifiers import CodeVerifier, Verifier, verifier_of

if TYPE_CHECKING:
    import dspy

    from pmd_agent.distillation.parallel import Team
    from pmd_agent.distillation.trainer import Trainer
    from pmd_agent.policies.vllm.policy import VllmPolicy


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
    if recipe.distill.parallel == "none" and not os.environ.get("TORCHELASTIC_RUN_ID"):
        return _lead(recipe, resume, console, reflector, generaliser, None)
    from pmd_agent.distillation.build import build_trainer
    from pmd_agent.distillation.parallel import follow, joined
    from pmd_agent.models.loading import load_tokenizer

    with joined(recipe.distill.parallel) as team:
        if team.leads:
            return _lead(recipe, resume, console, reflector, generaliser, team)
        section = recipe.policy
        assert not isinstance(section, ScriptedPolicySection), "the recipe has seen to it"
        follow(build_trainer(recipe, section, load_tokenizer(section.model), team=team), team)
        return recipe.runs / recipe.name


def _lead(
    recipe: Recipe,
    resume: bool,
    console: Console | None,
    reflector: dspy.Module | None,
    generaliser: dspy.Module | None,
    team: Team | None,
) -> Path:
    console = console or Console()
    recipe = _naming(recipe, reflector=reflector, generaliser=generaliser)
    problems = load_problems(recipe.problems)
    open_parts = _prepare(recipe, problems, console, reflector=reflector, generaliser=generaliser, team=team)
    # Whatever can be wrong has been found before a folder is made.
    if resume:
        _check_ended(recipe)
    run = RunDir.resume(recipe) if resume else RunDir.create(recipe)
    console.attach(run.log_path)
    if run.finished:
        console.info(f"{run.path} is finished.")
    else:
        parts = open_parts(run)
        try:
            practise(parts, run, console)
        finally:
            parts.memory.close()
            parts.policy.close()
    console.summary(run.read_json("summary.json") or {}, run.path)
    return run.path


def evaluate_run(
    run: RunDir, *, console: Console, base: bool, with_memory: bool, max_problems: int | None, on: Recipe | None = None
) -> list[Outcome]:
    """A run's adapter (or its base) on its test problems, or on those of the recipe `on`, checked as that one says.

    `with_memory` reads the run's memory in the prompt. One outcome a problem.
    """
    recipe = run.recipe if on is None else run.recipe.model_copy(update={"problems": on.problems})
    if max_problems is not None:
        recipe = recipe.model_copy(
            update={"evaluate": recipe.evaluate.model_copy(update={"max_problems": max_problems})}
        )
    if not base and not (run.adapter_path / "adapter_config.json").is_file():
        raise RunError(
            f"{run.path} has no adapter yet.", "Finish it with `pmd run RECIPE --resume`, or evaluate --base."
        )
    parts = _prepare(
        recipe, load_problems(recipe.problems), console, adapter=None if base else run.adapter_path, frozen=True
    )(run)
    try:
        m = Metrics(-1)
        with console.stage(f"evaluating on {len(parts.test)} problems"):
            return evaluate(parts, m, parts.test, with_memory)
    finally:
        parts.memory.close()
        parts.policy.close()


def _check_ended(recipe: Recipe) -> None:
    """Whether the adapter of a run that has ended fits its model, before anything says that the run is finished."""
    run = RunDir(recipe.runs / recipe.name, recipe)
    if isinstance(recipe.policy, ScriptedPolicySection) or not run.finished or not run.adapter_path.is_dir():
        return
    from pmd_agent.models.adapters import check_adapter

    check_adapter(recipe.policy.model, run.adapter_path)


def _naming(recipe: Recipe, **programs: dspy.Module | None) -> Recipe:
    """The recipe with the classes of the given programs in place of those that it names."""
    given = {name: f"{type(p).__module__}:{type(p).__qualname__}" for name, p in programs.items() if p is not None}
    return recipe.model_copy(update={"pipeline": recipe.pipeline.model_copy(update=given)}) if given else recipe


def _prepare(
    recipe: Recipe,
    problems: ProblemSets,
    console: Console,
    *,
    adapter: Path | None = None,
    frozen: bool = False,
    reflector: dspy.Module | None = None,
    generaliser: dspy.Module | None = None,
    team: Team | None = None,
) -> Callable[[RunDir], Parts]:
    """Everything but what lives in the run's folder. `frozen`: no trainer; the policy answers with `adapter` or as it is."""
    from pmd_agent.pipelines import build_program, outside_lm

    settings = recipe.pipeline.model_dump(include={"attempts", "attempt_chars", "insight_lines"})
    reflector = reflector or build_program(recipe.pipeline.reflector, ("problem", "experiences"), **settings)
    generaliser = generaliser or build_program(recipe.pipeline.generaliser, ("insights",), **settings)
    if recipe.memory.bank is not None:
        read_bank(recipe.memory.bank)  # what is wrong with it is said now
    embedder = build_embedder(recipe.memory.embedder)
    verifier = _verifier(recipe, console)
    policy, trainer, context = _policy(recipe, adapter, frozen, console, team)
    if recipe.pipeline.lm.model is not None:
        outside_lm(
            **recipe.pipeline.lm.model_dump(), temperature=0.0, max_tokens=1
        )  # a key that is missing is missed now
        console.warn(f"{recipe.pipeline.lm.model} writes the memory (pipeline.lm): it is not the policy's own.")
    if getattr(recipe.policy, "thinking", False):
        console.warn("policy.thinking is on: thinking models are reported to lose up to 17 % under self-distillation.")
    for reason in problems.skipped[:3]:
        console.warn(f"left out: {reason}")
    if len(problems.skipped) > 3:
        console.warn(f"left out: {len(problems.skipped) - 3} more rows")
    if leaked := shared(problems.train, problems.test):
        console.warn(f"{len(leaked)} test problems have the prompt of a training problem (`pmd problems` names them)")

    def fits(part: tuple[Problem, ...], name: str) -> tuple[Problem, ...]:
        kept = tuple(p for p in part if len(policy.encode(student_messages(p))) <= recipe.rollout.max_prompt_tokens)
        if len(kept) < len(part):
            longest = next(p.id for p in part if p not in kept)
            console.warn(
                f"{len(part) - len(kept)} {name} problems exceed rollout.max_prompt_tokens and are left out ({longest}, ...)"
            )
        if part and not kept:
            raise ProblemError(
                f"Every {name} problem exceeds rollout.max_prompt_tokens.", "Raise it, if the model reads that much."
            )
        return kept

    train, validation = fits(problems.train, "training"), fits(problems.validation, "validation")
    test = first_of_each_kind(fits(problems.test, "test"), recipe.evaluate.max_problems)
    curriculum = Curriculum(train, recipe.rollout.problems, recipe.seed, shuffle=recipe.rollout.shuffle)
    console.info(f"{len(train)} training, {len(validation)} validation and {len(test)} test problems")

    steps = recipe.steps or recipe.epochs * curriculum.steps_per_epoch
    if trainer is not None:
        trainer.total_steps = steps

    def open_in(run: RunDir) -> Parts:
        kept = recipe.memory
        memory = open_memory(recipe, run.memory_path, embedder)
        if not frozen or not memory.shared:
            memory.rollback(run.next_step)
        if not frozen:
            if not run.next_step and take_back(memory):
                console.warn(
                    "an import into this run's memory was killed before its end and has been taken back: import again"
                )
            if kept.bank is not None and not run.next_step and not memory.noted("bank"):
                count = import_bank(memory, kept.bank, trial=bool(kept.lift.trial))
                console.info(f"{count} memories from the bank {kept.bank}")
        generation = generation_of(memory)
        if run.checkpoint is not None and trainer is not None:
            trainer.load(run.checkpoint)
        policy.attach(run.path)
        first = adapter
        if trainer is not None and not policy.shares_weights and run.next_step:
            first = publish_adapter(trainer, run.path / "adapters", run.next_step)
        policy.load(first, run.next_step)
        return Parts(
            recipe=recipe,
            steps=steps,
            curriculum=curriculum,
            train=train,
            validation=validation,
            test=test,
            policy=policy,
            verifier=verifier,
            memory=memory,
            embedder=embedder,
            reflector=reflector,
            generaliser=generaliser,
            trainer=trainer,
            context=context,
            prefix=f"g{generation}/" if generation else "",
            history=[row for row in run.metrics() if row["step"] < run.next_step],
        )

    return open_in


def _verifier(recipe: Recipe, console: Console) -> Verifier:
    """The verifier that the recipe names; one that runs programs says what protects. Raises PMDError."""
    verifier = verifier_of(recipe.problems, recipe.rollout.success_threshold)
    if isinstance(verifier, CodeVerifier):
        on = verifier.protections()
        console.info(f"sandbox: {', '.join(name for name in on if on[name])}")
        if missing := [name for name in on if not on[name]]:
            console.warn(f"the sandbox is without: {', '.join(missing)} (docs/sandbox.md)")
    return verifier


def _policy(
    recipe: Recipe, adapter: Path | None, frozen: bool, console: Console, team: Team | None
) -> tuple[Policy, Trainer | None, int]:
    """The policy, its trainer where it learns, and the tokens it can read and write in all."""
    section = recipe.policy
    if isinstance(section, ScriptedPolicySection):
        from pmd_agent.policies.scripted import ScriptedPolicy

        return ScriptedPolicy(section.answers), None, 1 << 30
    from pmd_agent.distillation.build import build_trainer
    from pmd_agent.models.adapters import load_adapter
    from pmd_agent.models.loading import check_model, load_base, load_tokenizer
    from pmd_agent.policies.local import LocalPolicy

    tokenizer = load_tokenizer(section.model)
    for line in check_model(section.model):
        console.warn(line)
    learns = recipe.distill.enabled and not frozen
    if isinstance(section, VllmPolicySection) and not learns:
        served = _vllm_policy(recipe, section, tokenizer, adapter, console)
        return served, None, served.context
    trainer = None
    if learns and adapter is None:
        trainer = build_trainer(recipe, section, tokenizer, team=team, warn=console.warn)
        model = trainer.model
    else:
        model = load_base(section.model, dtype=section.dtype, device=section.device)
        if adapter is not None:
            model = load_adapter(model, adapter)
    if isinstance(section, VllmPolicySection):
        served = _vllm_policy(recipe, section, tokenizer, adapter, console)
        return served, trainer, served.context
    policy = LocalPolicy(
        model, tokenizer, name=Path(section.model).name, thinking=section.thinking, batch_tokens=section.batch_tokens
    )
    return policy, trainer, policy.context


def _vllm_policy(
    recipe: Recipe, section: VllmPolicySection, tokenizer: Any, adapter: Path | None, console: Console
) -> VllmPolicy:
    """The policy on a vLLM server, which is started when the first weights are loaded."""
    from pmd_agent.models.adapters import check_adapter
    from pmd_agent.models.loading import read_limits
    from pmd_agent.policies.vllm.command import adapter_rank, settings_of
    from pmd_agent.policies.vllm.policy import VllmPolicy
    from pmd_agent.policies.vllm.server import RunningServer, Server, VllmServer

    if adapter is not None:
        check_adapter(section.model, adapter)
    rank = recipe.distill.lora.rank if adapter is None else adapter_rank(adapter)
    context, eos_ids = read_limits(section.model, tokenizer)
    context = min(context, section.max_model_len or context)
    server: Server
    if section.address is not None:
        key = os.environ.get(section.api_key, "")
        server = RunningServer(section.address, key=key, patience=section.start_seconds, progress=console.info)
    else:
        server = VllmServer(
            settings_of(section, lora_rank=rank, max_model_len=context),
            Path("vllm.log"),
            start_seconds=section.start_seconds,
            restarts=section.restarts,
            progress=console.info,
        )
    return VllmPolicy(
        server,
        tokenizer,
        context=context,
        eos_ids=eos_ids,
        thinking=section.thinking,
        in_flight=section.in_flight,
        timeout=section.request_seconds,
        sleep=section.sleep,
    )
