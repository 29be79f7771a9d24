"""What was tried goes into experience memory: remember."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.stages.parts import Metrics, Parts, frozen, stage
from pmd_agent.types import Experience, Rollout, Verdict


@stage
def remember(
    parts: Parts, m: Metrics, rollouts_PG: Sequence[Sequence[Rollout]], verdicts_PG: Sequence[Sequence[Verdict]]
) -> list[list[Experience]]:
    """Every checked rollout, with its verdict, into experience memory."""
    experiences_PG = [
        [
            Experience(
                id=r.id,
                problem_id=r.problem_id,
                text=r.account or r.text,
                reward=v.reward,
                correct=bool(v.correct),
                feedback=v.feedback,
                answer=v.answer,
                step=m.step,
                policy_version=r.policy_version,
            )
            for r, v in zip(rollouts_G, verdicts_G, strict=True)
            if v.reward is not None
        ]
        for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True)
    ]
    if not frozen(parts, m.step):
        parts.memory.add_experiences([e for group in experiences_PG for e in group])
    return experiences_PG
