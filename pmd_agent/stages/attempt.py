"""The policy tries each problem, without memory: attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pmd_agent.evaluation.diagnostics import writing
from pmd_agent.stages.parts import Metrics, Parts, seed_for, stage
from pmd_agent.stages.rollouts import Complete, episode_metrics, rollouts_of
from pmd_agent.types import Problem, Rollout, Sampling

if TYPE_CHECKING:
    from pmd_agent.stages.early import Early


@stage
def attempt(parts: Parts, m: Metrics, problems_P: Sequence[Problem], early: Early | None = None) -> list[list[Rollout]]:
    """J rollouts of every problem from the plain prompt: no memory. An attempt of an episode is an attempt.

    Those that were sampled ahead are there already. `early` gets each group that is complete before the others.
    """
    rollouts_PG = parts.ahead.pop(m.step, None)
    if rollouts_PG is None:
        rollouts_PG = _attempts(parts, m.step, problems_P, early)
    flat = [r for group in rollouts_PG for r in group]
    m.values["rollouts"] = len(flat)
    m.values["response_tokens"] = sum(sum(r.written) for r in flat) / len(flat)
    m.values["truncated"] = sum(r.finish_reason == "length" for r in flat) / len(flat)
    m.values |= writing(["\n".join(r.replies) for r in flat]) | episode_metrics(flat)
    return rollouts_PG


def _attempts(
    parts: Parts, step: int, problems_P: Sequence[Problem], early: Early | None = None
) -> list[list[Rollout]]:
    try:
        return attempts(parts, step, problems_P, early.complete if early is not None and early.wanted else None)
    except BaseException:
        if early is not None:
            early.close()
        raise


def attempts(
    parts: Parts, step: int, problems_P: Sequence[Problem], complete: Complete | None = None
) -> list[list[Rollout]]:
    """A step's, by the weights that the policy has now. `complete`: as for `rollouts_of`."""
    settings = parts.recipe.rollout
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, seed_for(parts.recipe, step, 0))
    name = f"{parts.prefix}{step}"
    return rollouts_of(parts, problems_P, settings.samples, sampling, name=name, complete=complete)
