"""What recurs across problems becomes behaviors, through a DSPy program: generalise."""

from __future__ import annotations

from pmd_agent.memory import cluster_problems, with_old_ids
from pmd_agent.memory.bank import BEFORE
from pmd_agent.stages.parts import Metrics, Parts, frozen, seed_for, stage
from pmd_agent.stages.program_lm import program_lm
from pmd_agent.types import BY_HAND, Behavior


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
        style=parts.recipe.program_style,
    )
    said = {behavior.name for behavior in behaviors}
    banked = {entry.id for entry in parts.memory.imported("behavior", step=BEFORE)}
    for old in parts.memory.behaviors():
        # What a cluster could not say again is not thereby false; nor what a bank says of other problems than these.
        of_others = old.id in banked and not parts.memory.problems_of(old) & known.keys()
        if old.name not in said and (counts["unparsed"] or of_others or old.program == BY_HAND):
            behaviors.append(old)
    parts.memory.replace_behaviors(behaviors, m.step)
    m.values["behaviors"] = len(behaviors)
    m.values |= {f"generalisations_{name}": count for name, count in counts.items()}
    return behaviors
