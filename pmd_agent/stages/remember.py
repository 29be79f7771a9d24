"""What was tried goes into experience memory: remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pmd_agent.stages.parts import Metrics, Parts, frozen, stage
from pmd_agent.types import Experience, Rollout, Verdict


@stage
def remember(
    parts: Parts, m: Metrics, rollouts_PG: Sequence[Sequence[Rollout]], verdicts_PG: Sequence[Sequence[Verdict]]
) -> list[list[Experience]]:
    """Every checked rollout, with its verdict, into experience memory; and what others have tried, once."""
    experiences_PG = [
        [*others_of(parts, m.step, rollouts_G[0].problem_id), *tried(m.step, rollouts_G, verdicts_G)]
        for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True)
    ]
    if not frozen(parts, m.step):
        parts.memory.add_experiences([e for group in experiences_PG for e in group])
    return experiences_PG


def tried(step: int, rollouts_G: Sequence[Rollout], verdicts_G: Sequence[Verdict]) -> list[Experience]:
    """The checked ones of a group, as memory keeps them."""
    return [
        Experience(
            id=r.id,
            problem_id=r.problem_id,
            text=r.account or r.text,
            reward=v.reward,
            correct=bool(v.correct),
            feedback=v.feedback,
            answer=v.answer,
            step=step,
            policy_version=r.policy_version,
        )
        for r, v in zip(rollouts_G, verdicts_G, strict=True)
        if v.reward is not None
    ]


def others_of(parts: Parts, step: int, problem_id: str) -> list[Experience]:
    """The chats about this problem that are not in memory yet: as if they had been attempts of this step."""
    given = [replace(e, step=step, policy_version=parts.policy.version) for e in parts.traces.get(problem_id, ())]
    return [e for e in given if parts.memory.get(e.id) is None]
