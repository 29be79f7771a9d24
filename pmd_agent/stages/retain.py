"""Who stays in memory: tidy, weigh."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.memory import Limits, Rules
from pmd_agent.memory.effects import State
from pmd_agent.stages.draw import Teaching
from pmd_agent.stages.parts import Metrics, Parts, frozen, stage
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
    effects = parts.memory.effects()
    for tier in settings.tiers:
        if (evidence := effects.of(f"tier:{tier}")).n >= settings.lift.least:
            m.values[f"lift_{tier}"] = evidence.lift
    states: tuple[tuple[State, str], ...] = (
        ("trial", "on_trial"),
        ("quarantined", "quarantined"),
        ("retired", "retired"),
    )
    for state, name in states:
        if count := len(parts.memory.in_state(state)):
            m.values[name] = count
