"""What teachers read in a step, all of it made before the trainer is asked: what teaches, and what is only measured."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from pmd_agent.distillation.choose_examples import Prompts, TeacherPrompt, has_teacher
from pmd_agent.distillation.teacher_page import Messages, Page, student_messages, teacher_page
from pmd_agent.memory import Recalled
from pmd_agent.stages.parts import Metrics, Parts, due, seed_for, stage
from pmd_agent.types import Behavior, Insight, Problem, Rollout, TeacherContext, Tier, Verdict

MemoryItem = Behavior | Insight
OfRollouts = list[tuple[Rollout, TeacherContext]]
"""What each rollout's teacher may read."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One memory tried alone on one correct rollout: a teacher that reads just it, and one that reads nothing."""

    memory_id: str
    rollout: Rollout
    verdict: Verdict
    alone: TeacherPrompt
    bare: TeacherPrompt


@dataclass(frozen=True, slots=True)
class TeacherPrompts:
    """All prompts of a step's teachers."""

    teaching: Prompts
    """By which the student learns."""
    controls: dict[str, Prompts] = field(default_factory=dict)
    """By name, of teachers whose gain is compared with the real one's: controls, and single tiers."""
    trials: tuple[Trial, ...] = ()

    def uses(self) -> dict[str, int]:
        """Memory id -> the number of rollouts that it taught."""
        found: dict[str, int] = {}
        for prompt in self.teaching.values():
            for entry_id in prompt.shown:
                found[entry_id] = found.get(entry_id, 0) + 1
        return found


@stage
def teacher_prompts(
    parts: Parts,
    m: Metrics,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    recalled_P: Sequence[Recalled],
) -> TeacherPrompts:
    """What each rollout's teacher reads: the memory recalled for its problem, and last the problem."""
    settings, lift = parts.recipe.distill, parts.recipe.memory.lift
    contexts_P = [each.context for each in recalled_P]

    def prompts(of_P: Sequence[TeacherContext]) -> Prompts:
        return {
            rollout.id: teacher_prompt(parts, context, rollout)
            for rollout, context in _to_teach(parts, rollouts_PG, verdicts_PG, of_P)
        }

    main_P = contexts_P if settings.teacher.reads_problem else [without_problem(c) for c in contexts_P]
    untried = {r.context.problem.id: r.on_trial for r in recalled_P} if lift.trial and lift.untried else {}
    teaching = {}
    for rollout, context in _to_teach(parts, rollouts_PG, verdicts_PG, main_P):
        seed = f"{seed_for(parts.recipe, m.step, 5)} {rollout.id}"
        drawn = with_some(context, untried.get(rollout.problem_id, ()), lift.untried, seed)
        teaching[rollout.id] = teacher_prompt(parts, drawn, rollout)
    m.values |= _budget(teaching)
    controls = control_contexts(contexts_P) if due(settings.controls_every, m.step) else {}
    if due(settings.tier_gains_every, m.step):
        controls |= tier_contexts(contexts_P, parts.recipe.memory.tiers)
    trials = _trials(parts, rollouts_PG, verdicts_PG, recalled_P) if lift.trial and parts.trainer is not None else ()
    return TeacherPrompts(teaching, {name: prompts(of_P) for name, of_P in controls.items()}, tuple(trials))


def _to_teach(
    parts: Parts,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    contexts_P: Sequence[TeacherContext],
) -> OfRollouts:
    """The rollouts that have a teacher who may have something to read; with trials, also those who have not."""
    return [
        (rollout, context)
        for rollouts_G, verdicts_G, context in zip(rollouts_PG, verdicts_PG, contexts_P, strict=True)
        for rollout, verdict in zip(rollouts_G, verdicts_G, strict=True)
        if has_teacher(parts.recipe, rollout, verdict)
        and (parts.recipe.memory.lift.trial or not context.is_empty_for(rollout.id))
    ]


def teacher_prompt(parts: Parts, context: TeacherContext, rollout: Rollout) -> TeacherPrompt:
    """The page for this rollout as token ids, within what the policy can read before the rollout."""
    room = parts.context - len(rollout.completion_ids)
    page = page_within(parts, context, rollout.id, room, [dict(message) for message in rollout.opening])
    ids = tuple(parts.policy.encode(page.messages, thinking=parts.recipe.distill.teacher.thinking))
    if len(ids) > room:
        return TeacherPrompt(None, page.informed)
    return TeacherPrompt(ids, page.informed, page.shown, page.dropped, page.demonstration_cut)


def room_for_attempt(parts: Parts) -> int:
    """Tokens that an attempt may need behind its prompt."""
    rollout = parts.recipe.rollout
    return rollout.max_tokens if parts.environments is None else max(rollout.max_tokens, rollout.episode.tokens)


def page_within(
    parts: Parts, context: TeacherContext, rollout_id: str | None, room: int, opening: Messages | None = None
) -> Page:
    """The teacher's page, its template and system message counted against `room` as well.

    `opening`: the messages with which an environment opened in place of the problem's own; the memory stands before the last.
    """
    if opening and context.problem.prompt:
        context = replace(context, problem=replace(context.problem, prompt=opening[-1]["content"]))
    bare = opening or student_messages(context.problem)
    overhead = len(parts.policy.encode([*bare[:-1], bare[-1] | {"role": "user", "content": ""}]))

    def count(text: str) -> int:
        return len(parts.policy.encode([*bare[:-1], bare[-1] | {"role": "user", "content": text}])) - overhead

    page = teacher_page(
        context,
        rollout_id,
        max_tokens=min(parts.recipe.memory.max_tokens, room - overhead),
        count_tokens=count,
        special_tokens=parts.policy.special_tokens,
        style=parts.recipe.page_style,
    )
    return replace(page, messages=[*bare[:-1], bare[-1] | page.messages[-1]])


def _budget(teaching: Prompts) -> dict[str, float]:
    """Means over the teachers that have a prompt."""
    fitting = [prompt for prompt in teaching.values() if prompt.ids is not None]
    return {
        "memories_dropped": sum(len(p.dropped) for p in fitting) / max(1, len(fitting)),
        "demonstration_cut": sum(p.demonstration_cut for p in fitting) / max(1, len(fitting)),
    }


# ---- what only measures


def control_contexts(contexts_P: Sequence[TeacherContext]) -> dict[str, list[TeacherContext]]:
    """What teachers read that should gain less than the real one.

    `shuffled`: the problem with the next problem's memory: a gain as large shows that it is not what the memory says that
    helps. `reference_only`: the memory without the problem: a gain as large shows a memory that gives the answer away.
    """
    found = {"reference_only": [without_problem(c) for c in contexts_P]}
    if len(contexts_P) > 1:
        others_P = [*contexts_P[1:], *contexts_P[:1]]
        found["shuffled"] = [
            replace(other, problem=c.problem, feedback={}) for c, other in zip(contexts_P, others_P, strict=True)
        ]
    return found


def without_problem(context: TeacherContext) -> TeacherContext:
    """The memory, read beside nothing."""
    return replace(context, problem=replace(context.problem, prompt=""))


def tier_contexts(contexts_P: Sequence[TeacherContext], tiers: Sequence[Tier]) -> dict[str, list[TeacherContext]]:
    """What teachers read that are shown one of these tiers alone.

    experience: the demonstration and the feedback, this batch's (SDPO's context) among them; insight: strategies and lessons;
    behavior: behaviors.
    """
    of: dict[Tier, Callable[[TeacherContext], TeacherContext]] = {
        "experience": lambda c: replace(c, behaviors=(), strategies=(), lessons=()),
        "insight": lambda c: replace(c, behaviors=(), demonstrations=(), feedback={}),
        "behavior": lambda c: replace(c, strategies=(), lessons=(), demonstrations=(), feedback={}),
    }
    return {tier: [of[tier](c) for c in contexts_P] for tier in tiers}


def with_some(context: TeacherContext, items: Sequence[MemoryItem], share: float, seed: str) -> TeacherContext:
    """The context with each of these memories, which are still on trial, with probability `share`."""
    rng = random.Random(seed)
    return _with(context, [item for item in items if rng.random() < share])


def _with(context: TeacherContext, items: Iterable[MemoryItem]) -> TeacherContext:
    for item in items:
        if isinstance(item, Behavior):
            context = replace(context, behaviors=(*context.behaviors, item))
        elif item.kind == "strategy":
            context = replace(context, strategies=(*context.strategies, item))
        else:
            context = replace(context, lessons=(*context.lessons, item))
    return context


def _trials(
    parts: Parts,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    recalled_P: Sequence[Recalled],
) -> Iterable[Trial]:
    """Every insight and behavior of a problem, read or not, on its first `memory.lift.trial` correct rollouts.

    What a trial shows is in memory/effects.py (`worth`), what follows in memory/trust.py.
    """
    for recalled, rollouts_G, verdicts_G in zip(recalled_P, rollouts_PG, verdicts_PG, strict=True):
        context = recalled.context
        items = [*context.behaviors, *context.strategies, *context.lessons, *recalled.on_trial, *recalled.quarantined]
        right = [(r, v) for r, v in zip(rollouts_G, verdicts_G, strict=True) if v.correct and any(r.written)]
        for rollout, verdict in right[: parts.recipe.memory.lift.trial] if items else ():
            yield from _tried(parts, context.problem, items, rollout, verdict)


def _tried(
    parts: Parts, problem: Problem, items: Sequence[MemoryItem], rollout: Rollout, verdict: Verdict
) -> Iterable[Trial]:
    nothing = TeacherContext(problem)
    bare = teacher_prompt(parts, nothing, rollout)
    for item in items:
        alone = teacher_prompt(parts, _with(nothing, [item]), rollout)
        # What did not fit was not tried.
        if bare.ids is not None and alone.ids is not None and not alone.dropped:
            yield Trial(item.id, rollout, verdict, alone, bare)
