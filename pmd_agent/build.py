"""From a recipe to a running loop: the only place where all parts are known."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_agent.console import Console
from pmd_agent.curriculum import Curriculum
from pmd_agent.distillation.context import student_messages
from pmd_agent.embedding import build_embedder
from pmd_agent.errors import ProblemError, RunError
from pmd_agent.evaluation import accuracy
from pmd_agent.loop import practise
from pmd_agent.memory.bank import generation_of, import_bank, read_bank
from pmd_agent.memory_of import open_memory
from pmd_agent.policies import Policy
from pmd_agent.recipe import (
    FileProblems,
    FunctionProblems,
    HumanEvalProblems,
    LiveCodeBenchProblems,
    Recipe,
    SandboxSection,
    SciKnowEvalProblems,
    ScriptedPolicySection,
    VllmPolicySection,
    WorldProblems,
)  # fmt: skip
from pmd_agent.recipe_learning import Distill, Teacher
from pmd_agent.run_dir import RunDir
from pmd_agent.stages import Metrics, Parts, evaluate, publish_adapter
from pmd_agent.types import Problem
from pmd_agent.verifiers import CodeVerifier, Verifier, build_verifier

if TYPE_CHECKING:
    import dspy

    from pmd_agent.distillation.trainer import Trainer
    from pmd_agent.policies.vllm.policy import VllmPolicy


@dataclass(frozen=True, slots=True)
class ProblemSets:
    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    test: tuple[Problem, ...]
    skipped: tuple[str, ...] = ()
    """Rows that did not fit, with their reasons."""


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
    """
    console = console or Console()
    recipe = _naming(recipe, reflector=reflector, generaliser=generaliser)
    problems = load_problems(recipe)
    open_parts = _prepare(recipe, problems, console, reflector=reflector, generaliser=generaliser)
    # Whatever can be wrong has been found before a folder is made.
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
    run: RunDir, *, console: Console, base: bool, with_memory: bool, max_problems: int | None
) -> dict[str, Any]:
    """Accuracy of a run's adapter (or its base) on its test problems; `with_memory` reads the run's memory in the prompt."""
    recipe = run.recipe
    if max_problems is not None:
        recipe = recipe.model_copy(
            update={"evaluate": recipe.evaluate.model_copy(update={"max_problems": max_problems})}
        )
    if not base and not (run.adapter_path / "adapter_config.json").is_file():
        raise RunError(
            f"{run.path} has no adapter yet.", "Finish it with `pmd run RECIPE --resume`, or evaluate --base."
        )
    parts = _prepare(recipe, load_problems(recipe), console, adapter=None if base else run.adapter_path, frozen=True)(
        run
    )
    try:
        m = Metrics(-1)
        with console.stage(f"evaluating on {len(parts.test)} problems"):
            return accuracy(evaluate(parts, m, parts.test, with_memory))
    finally:
        parts.memory.close()
        parts.policy.close()


def load_problems(recipe: Recipe) -> ProblemSets:
    """The problems that the recipe names, split three ways. Raises ProblemError."""
    section = recipe.problems
    if isinstance(section, WorldProblems):
        from pmd_agent.problems.world import World

        world = World.create(section.seed, operators=section.operators, domains=section.domains)
        return ProblemSets(*world.split(train=section.train, validation=section.validation, test=section.test))

    from pmd_agent.problems import (
        hold_out,
        humaneval,
        jsonl,
        livecodebench,
        load_function,
        sciknoweval,
        validation_split,
    )

    if isinstance(section, LiveCodeBenchProblems):
        split = livecodebench.load(
            section.path,
            hub=section.hub,
            files=section.files,
            start=section.start,
            end=section.end,
            kind=section.kind,
            seed=section.seed,
            max_bad_fraction=section.max_bad_fraction,
        )
        # The problems are those that are trained on, here with all of their tests: nothing is held out of training.
        _, validation = hold_out(split.test, section.validation_fraction, section.seed)
        return ProblemSets(split.train, validation, split.test, split.skipped)
    if isinstance(section, SciKnowEvalProblems):
        split = sciknoweval.load(
            section.path,
            hub=section.hub,
            domains=section.domains or None,
            test_fraction=section.test_fraction,
            seed=section.seed,
            max_bad_fraction=section.max_bad_fraction,
        )
    elif isinstance(section, HumanEvalProblems):
        split = humaneval.load(
            section.path,
            hub=section.hub,
            test_fraction=section.test_fraction,
            seed=section.seed,
            max_bad_fraction=section.max_bad_fraction,
        )
    elif isinstance(section, FileProblems):
        fields = jsonl.Fields(section.prompt, section.answer, section.system, section.id, section.kind)
        split = jsonl.load(
            section.path,
            test=section.test_path,
            fields=fields,
            test_fraction=section.test_fraction,
            seed=section.seed,
            max_bad_fraction=section.max_bad_fraction,
        )
    else:
        assert isinstance(section, FunctionProblems)
        split = load_function(section.function, test_fraction=section.test_fraction, seed=section.seed)
    train, validation = validation_split(split, section.validation_fraction, section.seed)
    return ProblemSets(train, validation, split.test, split.skipped)


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
) -> Callable[[RunDir], Parts]:
    """Everything but what lives in the run's folder. `frozen`: no trainer; the policy answers with `adapter` or as it is."""
    from pmd_agent.pipelines import build_program, outside_lm

    settings = recipe.pipeline.model_dump(include={"attempts", "attempt_chars", "insight_lines"})
    reflector = reflector or build_program(recipe.pipeline.reflector, **settings)
    generaliser = generaliser or build_program(recipe.pipeline.generaliser, **settings)
    if recipe.memory.bank is not None:
        read_bank(recipe.memory.bank)  # what is wrong with it is said now
    embedder = build_embedder(recipe.memory.embedder)
    verifier = _verifier(recipe, console)
    policy, trainer, context = _policy(recipe, adapter, frozen, console)
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
    test = _at_most(fits(problems.test, "test"), recipe.evaluate.max_problems)
    curriculum = Curriculum(train, recipe.rollout.problems, recipe.seed)
    console.info(f"{len(train)} training, {len(validation)} validation and {len(test)} test problems")

    steps = recipe.steps or recipe.epochs * curriculum.steps_per_epoch
    if trainer is not None:
        trainer.total_steps = steps

    def open_in(run: RunDir) -> Parts:
        kept = recipe.memory
        memory = open_memory(recipe, run.memory_path, embedder)
        if not frozen:
            memory.rollback(run.next_step)
            if kept.bank is not None and not run.next_step and not memory.noted("bank"):
                console.info(f"{import_bank(memory, kept.bank)} memories from the bank {kept.bank}")
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
    """The verifier that the recipe names; one that runs programs says what protects. Raises VerifierError."""
    name, threshold = recipe.problems.verifier, recipe.rollout.success_threshold
    if name != "code":
        return build_verifier(name, threshold)
    from pmd_agent.verifiers.code import Limits

    settings = getattr(recipe.problems, "sandbox", SandboxSection())
    verifier = CodeVerifier(
        success_threshold=threshold,
        limits=Limits(seconds=settings.seconds, wall=2.5 * settings.seconds, memory=settings.memory_mib << 20),
        total_seconds=settings.total_seconds,
        fraction=settings.fraction,
        cores=settings.cores,
        allow_unsafe=settings.allow_unsafe,
    )
    on = verifier.protections()
    console.info(f"sandbox: {', '.join(name for name in on if on[name])}")
    if missing := [name for name in on if not on[name]]:
        console.warn(f"the sandbox is without: {', '.join(missing)} (docs/sandbox.md)")
    return verifier


def _policy(recipe: Recipe, adapter: Path | None, frozen: bool, console: Console) -> tuple[Policy, Trainer | None, int]:
    """The policy, its trainer where it learns, and the tokens it can read and write in all."""
    section = recipe.policy
    if isinstance(section, ScriptedPolicySection):
        from pmd_agent.policies.scripted import ScriptedPolicy

        return ScriptedPolicy(section.answers), None, 1 << 30
    from pmd_agent.distillation.trainer import Trainer
    from pmd_agent.policies.local import LocalPolicy
    from pmd_agent.weights import attach_lora, load_adapter, load_base, load_tokenizer

    tokenizer = load_tokenizer(section.model)
    learns = recipe.distill.enabled and not frozen
    if isinstance(section, VllmPolicySection) and not learns:
        served = _vllm_policy(recipe, section, tokenizer, adapter, console)
        return served, None, served.context
    model = load_base(section.model, dtype=section.dtype, device=section.device)
    trainer = None
    if adapter is not None:
        model = load_adapter(model, adapter)
    elif learns:
        learning = _learning(recipe)
        lora = learning.lora
        model = attach_lora(
            model,
            rank=lora.rank,
            alpha=lora.alpha,
            dropout=lora.dropout,
            targets=lora.targets,
            seed=recipe.seed,
            teacher=learning.teacher.type == "ema",
        )
        pad = tokenizer.pad_token_id
        trainer = Trainer(
            model,
            learning,
            pad_id=tokenizer.eos_token_id if pad is None else pad,
            seed=recipe.seed,
            special_ids=tokenizer.all_special_ids,
        )
    if isinstance(section, VllmPolicySection):
        served = _vllm_policy(recipe, section, tokenizer, adapter, console)
        return served, trainer, served.context
    policy = LocalPolicy(
        model, tokenizer, name=Path(section.model).name, thinking=section.thinking, batch_tokens=section.batch_tokens
    )
    return policy, trainer, policy.context


def _learning(recipe: Recipe) -> Distill:
    """How the trainer learns. GRPO keeps no teacher, and has a learning rate of its own where the recipe gives it one."""
    settings = recipe.distill
    if recipe.method != "grpo":
        return settings
    return settings.model_copy(update={"lr": settings.grpo.lr or settings.lr, "teacher": Teacher(type="initial")})


def _vllm_policy(
    recipe: Recipe, section: VllmPolicySection, tokenizer: Any, adapter: Path | None, console: Console
) -> VllmPolicy:
    """The policy on a vLLM server, which is started when the first weights are loaded."""
    from pmd_agent.policies.vllm.command import adapter_rank, settings_of
    from pmd_agent.policies.vllm.policy import VllmPolicy
    from pmd_agent.policies.vllm.server import RunningServer, Server, VllmServer
    from pmd_agent.weights import read_limits

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


def _at_most(problems: tuple[Problem, ...], count: int | None) -> tuple[Problem, ...]:
    """The first `count` of each kind."""
    if count is None:
        return problems
    taken: dict[str, int] = {}
    kept = []
    for problem in problems:
        taken[problem.kind] = taken.get(problem.kind, 0) + 1
        if taken[problem.kind] <= count:
            kept.append(problem)
    return tuple(kept)
