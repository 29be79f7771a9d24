"""The policy reads its attempts and writes insights, through a DSPy program: reflect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pmd_agent.runs.program_trace import ProgramTrace
from pmd_agent.stages.parts import Metrics, Parts, frozen, seed_for, stage
from pmd_agent.stages.program_lm import program_lm
from pmd_agent.types import Experience, Insight, Problem

if TYPE_CHECKING:
    import dspy

    from pmd_agent.stages.early import Early


@dataclass(frozen=True, slots=True)
class Reflected:
    """What reflecting on some problems gave."""

    insights: dict[str, list[Insight]] = field(default_factory=dict)
    """Problem id -> what was written."""
    counts: Counter[str] = field(default_factory=Counter)
    """calls, unparsed, dropped."""
    traces: list[ProgramTrace] = field(default_factory=list)
    """What was asked and said."""


@stage
def reflect(
    parts: Parts,
    m: Metrics,
    problems_P: Sequence[Problem],
    experiences_PG: Sequence[Sequence[Experience]],
    early: Early | None = None,
) -> list[list[Insight]]:
    """The policy reads its attempts at each problem and writes strategies and lessons, where it has not begun to early."""
    if not reflects(parts, m.step):
        return [[] for _ in problems_P]
    begun = early.begun if early is not None else frozenset()
    late = [p for p in range(len(problems_P)) if p not in begun]
    found = [
        reflected(
            parts, m.step, reflecting_lm(parts, m.step), [problems_P[p] for p in late], [experiences_PG[p] for p in late]
        ),
        *(early.reflected() if early is not None else ()),
    ]  # fmt: skip
    insights = {problem_id: said for each in found for problem_id, said in each.insights.items()}
    insights_P = [insights[p.id] for p in problems_P]
    place = {p.id: number for number, p in enumerate(problems_P)}
    m.traces += sorted((trace for each in found for trace in each.traces), key=lambda trace: place[trace.about])
    parts.memory.rewrite_insights_P({p.id: insights[p.id] for p in problems_P})
    counts = sum((each.counts for each in found), Counter[str]())
    if counts["calls"] and counts["unparsed"] == counts["calls"]:
        m.values["reflections_lost"] = 1.0
    m.values["insights_written"] = sum(map(len, insights_P))
    m.values |= {f"reflections_{name}": counts[name] for name in ("calls", "unparsed", "dropped")}
    return insights_P


def reflects(parts: Parts, step: int) -> bool:
    """Whether insights are written at this step."""
    return "insight" in parts.recipe.memory.tiers and not frozen(parts, step)


def reflecting_lm(parts: Parts, step: int) -> dspy.LM:
    """What a step's reflections are asked of."""
    return program_lm(parts, seed_for(parts.recipe, step, 1))


def reflected(
    parts: Parts,
    step: int,
    lm: dspy.LM,
    problems_P: Sequence[Problem],
    experiences_PG: Sequence[Sequence[Experience]],
) -> Reflected:
    """Reflection on these problems; memory is neither read nor written."""
    from pmd_agent.pipelines import reflect_all

    settings = parts.recipe.pipeline
    traces: list[ProgramTrace] = []
    insights_P, counts = reflect_all(
        parts.reflector,
        lm,
        problems_P,
        experiences_PG,
        step=step,
        policy_version=parts.policy.version,
        max_insights=settings.max_insights,
        insight_chars=settings.insight_chars,
        prefix=parts.prefix,
        special_tokens=parts.policy.special_tokens,
        record=traces.append,
        style=parts.recipe.program_style,
    )
    return Reflected({p.id: said for p, said in zip(problems_P, insights_P, strict=True)}, Counter(counts), traces)
