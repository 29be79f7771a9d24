"""Which memories stay, and which of them teach: tidy, weigh."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.memory import Limits, Rules
from pmd_agent.memory.effects import State
from pmd_agent.stages.distil import Learnt
from pmd_agent.stages.parts import Metrics, Parts, frozen, stage
from pmd_agent.stages.teacher_prompts import TeacherPrompts
from pmd_agent.types import Rollout, Verdict


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
def weigh(
    parts: Parts,
    m: Metrics,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    prompts: TeacherPrompts,
    learnt: Learnt,
) -> None:
    """How the memories fared in this step goes into the ledger; the harmful are quarantined, the absorbed retired."""
    settings = parts.recipe.memory
    if not settings.tiers or frozen(parts, m.step):
        return
    passed: dict[str, float] = {}
    for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True):
        if checked := [bool(v.correct) for v in verdicts_G if v.correct is not None]:
            passed[rollouts_G[0].problem_id] = sum(checked) / len(checked)
    tried = {name: [s.n, s.total, s.squares] for name, s in learnt.effects.items()}
    parts.memory.note(m.step, passed=passed, uses=prompts.uses(), **({"tried": tried} if tried else {}))
    parts.memory.judge(m.step, Rules(settings.lift.harmful, bool(settings.lift.trial), settings.lift.absorbed))
    states: tuple[tuple[State, str], ...] = (
        ("trial", "on_trial"),
        ("quarantined", "quarantined"),
        ("retired", "retired"),
    )
    for state, name in states:
        if count := len(parts.memory.in_state(state)):
            m.values[name] = count
