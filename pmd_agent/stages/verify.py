"""The verifier judges every rollout: verify."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.stages.parts import Metrics, Parts, nothing_checked, stage
from pmd_agent.types import Problem, Rollout, Verdict
from pmd_agent.verifiers import verify_all


@stage
def verify(
    parts: Parts, m: Metrics, problems_P: Sequence[Problem], rollouts_PG: Sequence[Sequence[Rollout]]
) -> list[list[Verdict]]:
    """A reward for every rollout, None where it could not be checked."""
    verified = verify_all(parts.verifier, problems_P, [[r.text for r in group] for group in rollouts_PG])
    checked = [v for group in verified.verdicts_PG for v in group if v.reward is not None]
    m.values["unchecked"] = verified.unchecked
    if not checked:
        raise nothing_checked(verified)
    m.values["reward"] = sum(v.reward or 0.0 for v in checked) / len(checked)
    m.values["correct"] = sum(bool(v.correct) for v in checked) / len(checked)
    m.values["solved_groups"] = sum(any(v.correct for v in group) for group in verified.verdicts_PG) / len(problems_P)
    return verified.verdicts_PG
