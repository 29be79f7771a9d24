"""Memories that are too old, or beyond a budget, leave: tidy."""

from __future__ import annotations

from pmd_agent.memory import Limits
from pmd_agent.stages.parts import Metrics, Parts, frozen, stage


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
