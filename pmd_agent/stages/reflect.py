"""The policy reads its attempts and writes insights, through a DSPy program: reflect."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.stages.parts import Metrics, Parts, frozen, seed_for, stage
from pmd_agent.stages.program_lm import program_lm
from pmd_agent.types import Experience, Insight, Problem


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
        experiences_PG,
        step=m.step,
        policy_version=parts.policy.version,
        max_insights=settings.max_insights,
        insight_chars=settings.insight_chars,
        prefix=parts.prefix,
        special_tokens=parts.policy.special_tokens,
        record=m.traces.append,
        style=parts.recipe.program_style,
    )
    parts.memory.rewrite_insights_P({p.id: insights for p, insights in zip(problems_P, insights_P, strict=True)})
    if counts["calls"] and counts["unparsed"] == counts["calls"]:
        m.values["reflections_lost"] = 1.0
    m.values["insights_written"] = sum(map(len, insights_P))
    m.values |= {f"reflections_{name}": count for name, count in counts.items()}
    return insights_P
