"""The policy writes its memory through DSPy programs: reflect, generalise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pmd_agent.memory import cluster_problems, with_old_ids
from pmd_agent.memory.bank import BEFORE
from pmd_agent.stages.parts import Metrics, Parts, frozen, seed_for, stage
from pmd_agent.types import Behavior, Experience, Insight, Problem

if TYPE_CHECKING:
    import dspy


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
    )
    parts.memory.rewrite_insights_P({p.id: insights for p, insights in zip(problems_P, insights_P, strict=True)})
    if counts["calls"] and counts["unparsed"] == counts["calls"]:
        m.values["reflections_lost"] = 1.0
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
    # A rule made of what is not trusted would be trusted.
    doubted = parts.memory.in_state("trial", "quarantined")
    known = {
        problem.id: insights
        for problem in parts.train
        if (insights := [i for i in parts.memory.insights(problem.id) if i.id not in doubted])
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
        special_tokens=parts.policy.special_tokens,
        record=m.traces.append,
    )
    said = {behavior.name for behavior in behaviors}
    banked = {entry.id for entry in parts.memory.imported("behavior", step=BEFORE)}
    for old in parts.memory.behaviors():
        # What a cluster could not say again is not thereby false; nor what a bank says of other problems than these.
        of_others = old.id in banked and not parts.memory.problems_of(old) & known.keys()
        if old.name not in said and (counts["unparsed"] or of_others):
            behaviors.append(old)
    parts.memory.replace_behaviors(behaviors, m.step)
    m.values["behaviors"] = len(behaviors)
    m.values |= {f"generalisations_{name}": count for name, count in counts.items()}
    return behaviors


def program_lm(parts: Parts, seed: int, temperature: float | None = None) -> dspy.LM:
    """What runs the programs: the policy, as it is or as it was, or the model that `pipeline.lm` names.

    At the recipe's temperature, unless another is given.
    """
    settings = parts.recipe.pipeline
    temperature = settings.temperature if temperature is None else temperature
    if settings.lm.model is None:
        return parts.policy.lm(
            temperature=temperature,
            max_tokens=settings.max_tokens,
            seed=seed,
            initial=settings.weights == "initial",
        )
    from pmd_agent.pipelines import outside_lm

    return outside_lm(**settings.lm.model_dump(), temperature=temperature, max_tokens=settings.max_tokens)
