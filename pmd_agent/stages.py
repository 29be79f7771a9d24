"""The stages of one step, as verbs. Each takes the parts and what flows in, returns what flows out, and adds to the metrics.

No tensors here: what a stage needs of a model is behind `Policy`, what learning needs is behind the trainer.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from pmd_agent.asked import Asked
from pmd_agent.curriculum import Curriculum
from pmd_agent.distillation.context import Reading, read, student_messages
from pmd_agent.distillation.examples import choose_examples, control_contexts, tier_contexts, without_problem
from pmd_agent.errors import RunError
from pmd_agent.evaluation import Outcome, score
from pmd_agent.gauges import spent, writing
from pmd_agent.lift import Draw, Teaching, draw
from pmd_agent.memory import Embedder, Limits, Memory, Recalled, Rules, Wanted, cluster_problems, with_old_ids
from pmd_agent.memory import recall as recall_contexts
from pmd_agent.memory.standing import State
from pmd_agent.policies import Policy
from pmd_agent.recipe import Recipe
from pmd_agent.text import neutralise, strip_thinking
from pmd_agent.trials import planned
from pmd_agent.types import Behavior, Experience, Insight, Problem, Rollout, Sampling, TeacherContext, Verdict
from pmd_agent.verifiers import Verifier, verify_all

if TYPE_CHECKING:
    import dspy

    from pmd_agent.distillation.trainer import Trainer


@dataclass(slots=True)
class Parts:
    """What build.py puts together from a recipe."""

    recipe: Recipe
    steps: int
    curriculum: Curriculum
    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    test: tuple[Problem, ...]
    policy: Policy
    verifier: Verifier
    memory: Memory
    embedder: Embedder
    reflector: dspy.Module
    generaliser: dspy.Module
    trainer: Trainer | None
    """None: the policy stays frozen."""
    context: int
    """Tokens that the policy can read and write in all."""
    prefix: str = ""
    """Leads the ids of all that this run writes, so that they differ from those of a bank."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """What the steps before this one reported."""


@dataclass(slots=True)
class Metrics:
    """What one step reports."""

    step: int
    values: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    """What the programs were asked, and what they said."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def record(self) -> dict[str, Any]:
        seconds = {name: round(s, 3) for name, s in self.seconds.items()}
        return {
            "step": self.step,
            **self.values,
            "stage_seconds": seconds,
            "seconds": round(sum(self.seconds.values()), 3),
        }


M = TypeVar("M", Experience, Insight)
P = ParamSpec("P")
R = TypeVar("R")


def stage(function: Callable[Concatenate[Parts, Metrics, P], R]) -> Callable[Concatenate[Parts, Metrics, P], R]:
    """Times the stage under its own name."""

    def timed(parts: Parts, m: Metrics, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with m.stage(function.__name__):
            return function(parts, m, *args, **kwargs)

    update_wrapper(timed, function)
    return timed


def seed_for(recipe: Recipe, *what: int) -> int:
    """A seed of its own for every (step, purpose), so that a resumed run draws what an unbroken one would have drawn."""
    seed = recipe.seed
    for part in what:
        seed = (seed * 1_000_003 + part + 1) % 2**31
    return seed


@stage
def attempt(parts: Parts, m: Metrics, problems_P: Sequence[Problem]) -> list[list[Rollout]]:
    """J rollouts of every problem from the plain prompt: no memory."""
    settings = parts.recipe.rollout
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, seed_for(parts.recipe, m.step, 0))
    completions_PG = parts.policy.sample([student_messages(p) for p in problems_P], settings.samples, sampling)
    rollouts_PG = [
        [
            Rollout(
                id=f"{parts.prefix}{m.step}/{problem.id}/{g}",
                problem_id=problem.id,
                prompt_ids=c.prompt_ids,
                completion_ids=c.completion_ids,
                written=(True,) * len(c.completion_ids),
                logprobs=c.logprobs,
                text=c.text,
                finish_reason=c.finish_reason,
                policy_version=c.policy_version,
            )
            for g, c in enumerate(completions_G)
        ]
        for problem, completions_G in zip(problems_P, completions_PG, strict=True)
    ]
    flat = [r for group in rollouts_PG for r in group]
    m.values["rollouts"] = len(flat)
    m.values["response_tokens"] = sum(len(r.completion_ids) for r in flat) / len(flat)
    m.values["truncated"] = sum(r.finish_reason == "length" for r in flat) / len(flat)
    m.values |= writing([r.text for r in flat])
    return rollouts_PG


@stage
def verify(
    parts: Parts, m: Metrics, problems_P: Sequence[Problem], rollouts_PG: Sequence[Sequence[Rollout]]
) -> list[list[Verdict]]:
    """A reward for every rollout, None where it could not be checked."""
    verified = verify_all(parts.verifier, problems_P, [[r.text for r in group] for group in rollouts_PG])
    checked = [v for group in verified.verdicts_PG for v in group if v.reward is not None]
    m.values["unchecked"] = verified.unchecked
    if not checked:
        raise RunError(
            f"Not one of {verified.unchecked} rollouts could be checked. The first: {verified.first_reason}",
            "Mend the verifier (problems.verifier); the run can then go on with --resume.",
        )
    m.values["reward"] = sum(v.reward or 0.0 for v in checked) / len(checked)
    m.values["correct"] = sum(bool(v.correct) for v in checked) / len(checked)
    m.values["solved_groups"] = sum(any(v.correct for v in group) for group in verified.verdicts_PG) / len(problems_P)
    return verified.verdicts_PG


@stage
def remember(
    parts: Parts, m: Metrics, rollouts_PG: Sequence[Sequence[Rollout]], verdicts_PG: Sequence[Sequence[Verdict]]
) -> list[list[Experience]]:
    """Every checked rollout, with its verdict, into experience memory."""
    experiences_PG = [
        [
            Experience(
                id=r.id,
                problem_id=r.problem_id,
                text=r.text,
                reward=v.reward,
                correct=bool(v.correct),
                feedback=v.feedback,
                answer=v.answer,
                step=m.step,
                policy_version=r.policy_version,
            )
            for r, v in zip(rollouts_G, verdicts_G, strict=True)
            if v.reward is not None
        ]
        for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True)
    ]
    if not frozen(parts, m.step):
        parts.memory.add_experiences([e for group in experiences_PG for e in group])
    return experiences_PG


@stage
def reflect(
    parts: Parts, m: Metrics, problems_P: Sequence[Problem], experiences_PG: Sequence[Sequence[Experience]]
) -> list[list[Insight]]:
    """The policy reads its attempts at each problem and writes strategies and lessons."""
    from pmd_agent.pipelines import reflect_all

    if "insight" not in parts.recipe.memory.tiers or frozen(parts, m.step):
        return [[] for _ in problems_P]
    settings = parts.recipe.pipeline
    insights_P, counts = reflect_all(
        parts.reflector,
        program_lm(parts, seed_for(parts.recipe, m.step, 1)),
        problems_P,
        [[_harmless(e, parts.policy.markers) for e in group] for group in experiences_PG],
        step=m.step,
        policy_version=parts.policy.version,
        max_insights=settings.max_insights,
        insight_chars=settings.insight_chars,
        prefix=parts.prefix,
        record=m.asked.append,
    )
    parts.memory.rewrite_insights_P({p.id: insights for p, insights in zip(problems_P, insights_P, strict=True)})
    m.values["insights_written"] = sum(map(len, insights_P))
    m.values |= {f"reflections_{name}": count for name, count in counts.items()}
    return insights_P


@stage
def generalise(parts: Parts, m: Metrics) -> list[Behavior]:
    """Every K steps and at the end: problems with insights are clustered, each cluster's insights abstracted into behaviors."""
    from pmd_agent.pipelines import generalise_all

    settings = parts.recipe.pipeline
    due = (m.step + 1) % settings.every == 0 or m.step + 1 == parts.steps
    if not due or "behavior" not in parts.recipe.memory.tiers or frozen(parts, m.step):
        return []
    markers = parts.policy.markers
    known = {
        problem.id: [_harmless(i, markers) for i in insights]
        for problem in parts.train
        if (insights := parts.memory.insights(problem.id))
    }
    clusters = cluster_problems(
        [(p.id, p.prompt) for p in parts.train if p.id in known],
        parts.embedder,
        size=settings.cluster_size,
        seed=parts.recipe.seed,
    )
    clusters = with_old_ids(clusters, parts.memory.noted("clusters"))
    parts.memory.note(m.step, clusters=clusters)
    behaviors, counts = generalise_all(
        parts.generaliser,
        program_lm(parts, seed_for(parts.recipe, m.step, 2)),
        [(name, [insight for problem in ids for insight in known[problem]]) for name, ids in clusters.items()],
        step=m.step,
        policy_version=parts.policy.version,
        max_behaviors=settings.max_insights,
        behavior_chars=settings.insight_chars,
        prefix=parts.prefix,
        supports=lambda rule, insights: supporting(parts.embedder, rule, insights),
        record=m.asked.append,
    )
    if counts["unparsed"]:  # what a cluster could not say again is not thereby false
        said = {behavior.name for behavior in behaviors}
        behaviors += [old for old in parts.memory.behaviors() if old.name not in said]
    parts.memory.replace_behaviors(behaviors, m.step)
    m.values["behaviors"] = len(behaviors)
    m.values |= {f"generalisations_{name}": count for name, count in counts.items()}
    return behaviors


@stage
def tidy(parts: Parts, m: Metrics) -> None:
    """What is too old, or beyond its tier's budget, leaves the live memory."""
    settings = parts.recipe.memory
    if frozen(parts, m.step):
        return
    budget = settings.budget
    limits = Limits(
        {"experience": budget.experience, "insight": budget.insight, "behavior": budget.behavior},
        settings.max_age_steps,
        settings.max_age_versions,
    )
    if any(limit is not None for limit in (*limits.budgets.values(), limits.max_steps, limits.max_versions)):
        gone = parts.memory.tidy(m.step, parts.policy.version, limits)
        m.values |= {f"evicted_{tier}": count for tier, count in gone.items()}


@stage
def recall(
    parts: Parts, m: Metrics, problems_P: Sequence[Problem], experiences_PG: Sequence[Sequence[Experience]]
) -> list[Recalled]:
    """What the teacher reads beside each problem: its own experience and insights, behaviors by retrieval, siblings."""
    return recall_contexts(parts.memory, problems_P, experiences_PG, wanted(parts.recipe, m.step))


@stage
def distil(
    parts: Parts,
    m: Metrics,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    recalled_P: Sequence[Recalled],
) -> Teaching:
    """The student's own rollouts, taught token by token by the teacher that reads memory, or reinforced (GRPO).

    Returns what taught. Each rollout's teacher may leave out memories at random, or each is tried alone, to measure what
    they do (`memory.lift`).
    """
    teaching = Teaching()
    contexts_P = [each.context for each in recalled_P]
    quarantined = {each.context.problem.id: each.quarantined for each in recalled_P}

    def prompt_within(context: TeacherContext, rollout: Rollout) -> tuple[Reading, list[int] | None]:
        room = parts.context - len(rollout.completion_ids)
        reading = _read_within(parts, context, rollout.id, room)
        prompt = parts.policy.encode(reading.messages)
        return reading, prompt if len(prompt) <= room else None

    def prompt_of(context: TeacherContext, rollout: Rollout) -> list[int] | None:
        drawn = drawn_for(parts, m.step, context, quarantined[rollout.problem_id], rollout)
        reading, prompt = prompt_within(drawn.context, rollout)
        teaching.draws[rollout.id], teaching.read[rollout.id] = drawn, reading.read
        return prompt

    def control_prompt_of(context: TeacherContext, rollout: Rollout) -> list[int] | None:
        return prompt_within(context, rollout)[1]

    settings = parts.recipe.distill
    taught_P = contexts_P if settings.teacher.reads_problem else [without_problem(c) for c in contexts_P]
    chosen = choose_examples(parts.recipe, rollouts_PG, verdicts_PG, taught_P, prompt_of)
    m.values |= chosen.metrics()
    if parts.trainer is None:
        return teaching
    if spent([row.get("teacher_gain") for row in parts.history], settings.gain_patience):
        m.values["distillation_ended"] = 1.0
        return teaching
    with parts.policy.resting():
        others = control_contexts(contexts_P) if _due(settings.controls_every, m.step) else {}
        if _due(settings.tier_gains_every, m.step):
            others |= tier_contexts(contexts_P, parts.recipe.memory.tiers)
        for name, others_P in others.items():
            control = choose_examples(parts.recipe, rollouts_PG, verdicts_PG, others_P, control_prompt_of)
            if (gain := parts.trainer.gain([e for e in control.examples if e.advantage is None])) is not None:
                m.values[f"teacher_gain_{name}"] = gain
        if limit := parts.recipe.memory.lift.trial:
            trials = planned(recalled_P, rollouts_PG, verdicts_PG, control_prompt_of, limit)
            teaching.tried = trials.found(parts.trainer.log_ratios(trials.examples)) if trials.examples else {}
        m.values |= parts.trainer.step(chosen.examples)
    teaching.gains = parts.trainer.gains
    return teaching


def drawn_for(
    parts: Parts, step: int, context: TeacherContext, quarantined: Sequence[Behavior | Insight], rollout: Rollout
) -> Draw:
    """What is left of a context for one rollout's teacher; all of it where nothing is measured."""
    settings = parts.recipe.memory.lift
    if not (settings.leave_out or settings.leave_out_tier):
        return Draw(context)
    return draw(
        context,
        quarantined,
        leave_out=settings.leave_out,
        leave_out_tier=settings.leave_out_tier,
        readmit=0.0 if settings.trial else settings.readmit,  # what is tried alone need not be read
        seed=f"{seed_for(parts.recipe, step, 5)} {rollout.id}",
    )


@stage
def weigh(
    parts: Parts,
    m: Metrics,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    teaching: Teaching,
) -> None:
    """How the memories fared in this step goes into the ledger; the harmful are quarantined, the absorbed retired."""
    settings = parts.recipe.memory
    if not settings.tiers or frozen(parts, m.step):
        return
    passed: dict[str, float] = {}
    for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True):
        if checked := [bool(v.correct) for v in verdicts_G if v.correct is not None]:
            passed[rollouts_G[0].problem_id] = sum(checked) / len(checked)
    found = teaching.observed(rollouts_PG, verdicts_PG)
    lift = {name: e.numbers() for name, e in found.items()}
    tried = {name: [s.n, s.total, s.squares] for name, s in teaching.tried.items()}
    measured = {name: part for name, part in (("lift", lift), ("tried", tried)) if part}
    parts.memory.note(m.step, passed=passed, uses=teaching.uses(), **measured)
    rules = Rules(settings.lift.harmful, settings.lift.least, bool(settings.lift.trial), settings.lift.absorbed)
    parts.memory.judge(m.step, rules)
    standings = parts.memory.standings()
    for tier in settings.tiers:
        if (evidence := standings.of(f"tier:{tier}")).n >= settings.lift.least:
            m.values[f"lift_{tier}"] = evidence.lift
    states: tuple[tuple[State, str], ...] = (
        ("trial", "on_trial"),
        ("quarantined", "quarantined"),
        ("retired", "retired"),
    )
    for state, name in states:
        if count := len(standings.ids(state)):
            m.values[name] = count


@stage
def sync(parts: Parts, m: Metrics, folder: Path) -> None:
    """The weights just trained become the policy's. A policy elsewhere gets every version under a name of its own."""
    if parts.trainer is None:
        return
    version = m.step + 1
    if parts.policy.shares_weights:
        parts.policy.load(None, version)
    else:
        adapter = publish_adapter(parts.trainer, folder, version)
        parts.policy.load(adapter, version)
        for old in folder.glob("v*"):
            if old != adapter:
                shutil.rmtree(old)


def publish_adapter(trainer: Trainer, folder: Path, version: int) -> Path:
    """The student's adapter in a folder of its own, whole or not there."""
    adapter = folder / f"v{version:06d}"
    temporary = adapter.with_suffix(".tmp")
    for leftover in (temporary, adapter):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    trainer.save_adapter(temporary)
    return temporary.rename(adapter)


@stage
def evaluate(parts: Parts, m: Metrics, problems: Sequence[Problem], with_memory: bool) -> list[Outcome]:
    """Fresh rollouts of problems that are never trained on, memory-free or with memory in the prompt."""
    settings = parts.recipe.evaluate
    if with_memory:
        contexts = contexts_for(parts, problems, [[] for _ in problems])
        prompts = [
            _read_within(parts, context, None, parts.context - parts.recipe.rollout.max_tokens).messages
            for context in contexts
        ]
    else:
        prompts = [student_messages(p) for p in problems]
    # The same seed each time: differences between evaluations are not differences between draws.
    sampling = Sampling(
        settings.temperature, settings.top_p, parts.recipe.rollout.max_tokens, seed_for(parts.recipe, 0, 3)
    )
    completions_PG = parts.policy.sample(prompts, settings.samples, sampling)
    verified = verify_all(parts.verifier, problems, [[c.text for c in group] for group in completions_PG])
    return score(problems, verified.verdicts_PG)


def contexts_for(
    parts: Parts, problems_P: Sequence[Problem], experiences_PG: Sequence[Sequence[Experience]]
) -> list[TeacherContext]:
    found = recall_contexts(parts.memory, problems_P, experiences_PG, wanted(parts.recipe))
    return [each.context for each in found]


def wanted(recipe: Recipe, step: int = 0) -> Wanted:
    """What the recipe says of recall."""
    settings = recipe.memory
    return Wanted(
        behaviors=settings.behaviors,
        strategies=settings.strategies,
        lessons=settings.lessons,
        siblings=settings.siblings,
        diversity=settings.diversity,
        mode=settings.recall,
        seed=seed_for(recipe, step, 4),
    )


def _read_within(parts: Parts, context: TeacherContext, rollout_id: str | None, room: int) -> Reading:
    """The teacher's conversation, its template and system message counted against `room` as well."""
    bare = student_messages(context.problem)
    overhead = len(parts.policy.encode([*bare[:-1], {"role": "user", "content": ""}]))

    def count(text: str) -> int:
        return len(parts.policy.encode([*bare[:-1], {"role": "user", "content": text}])) - overhead

    budget = min(parts.recipe.memory.max_tokens, room - overhead)
    return read(context, rollout_id, max_tokens=budget, count_tokens=count, markers=parts.policy.markers)


def program_lm(parts: Parts, seed: int) -> dspy.LM:
    """What runs the programs: the policy, or the model that `pipeline.lm` names."""
    settings = parts.recipe.pipeline
    if settings.lm.model is None:
        return parts.policy.lm(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=seed)
    from pmd_agent.pipelines import outside_lm

    return outside_lm(**settings.lm.model_dump(), temperature=settings.temperature, max_tokens=settings.max_tokens)


def _harmless(entry: M, markers: frozenset[str]) -> M:
    """The entry as a program may read it: no special token of the policy's, no hidden reasoning."""
    if isinstance(entry, Experience):
        text = neutralise(strip_thinking(entry.text), markers)
        return replace(entry, text=text, feedback=neutralise(entry.feedback, markers))
    return replace(entry, text=neutralise(entry.text, markers))


def supporting(embedder: Embedder, rule: str, insights: Sequence[Insight], threshold: float = 0.6) -> list[Insight]:
    """The insights that say much the same as the rule: cosine similarity of at least `threshold`."""
    vectors = embedder.embed([rule, *(i.text for i in insights)])
    similarity = vectors[1:] @ vectors[0]
    return [i for i, s in zip(insights, similarity, strict=True) if s >= threshold]


def _due(every: int, step: int) -> bool:
    """Whether what is done every so many steps (0: never) is done at this one."""
    return bool(every) and (step + 1) % every == 0


def frozen(parts: Parts, step: int) -> bool:
    """Whether memory takes nothing in at this step."""
    settings = parts.recipe.memory
    return settings.frozen or (settings.freeze_after is not None and step >= settings.freeze_after)
