"""The policy tries each problem, without memory: attempt."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.evaluation.diagnostics import writing
from pmd_agent.stages.parts import Metrics, Parts, seed_for, stage
from pmd_agent.stages.rollouts import episode_metrics, rollouts_of
from pmd_agent.types import Problem, Rollout, Sampling


@stage
def attempt(parts: Parts, m: Metrics, problems_P: Sequence[Problem]) -> list[list[Rollout]]:
    """J rollouts of every problem from the plain prompt: no memory. An attempt of an episode is an attempt."""
    settings = parts.recipe.rollout
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, seed_for(parts.recipe, m.step, 0))
    rollouts_PG = rollouts_of(parts, problems_P, settings.samples, sampling, name=f"{parts.prefix}{m.step}")
    flat = [r for group in rollouts_PG for r in group]
    m.values["rollouts"] = len(flat)
    m.values["response_tokens"] = sum(sum(r.written) for r in flat) / len(flat)
    m.values["truncated"] = sum(r.finish_reason == "length" for r in flat) / len(flat)
    m.values |= writing(["\n".join(r.replies) for r in flat]) | episode_metrics(flat)
    return rollouts_PG
