"""The verifier judges every rollout: verify."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pmd_agent.stages.parts import Metrics, Parts, nothing_checked, stage
from pmd_agent.stages.rollouts import verified as verified_by
from pmd_agent.types import Problem, Rollout, Verdict
from pmd_agent.verifiers import Verified

if TYPE_CHECKING:
    from pmd_agent.stages.early import Early


@stage
def verify(
    parts: Parts,
    m: Metrics,
    problems_P: Sequence[Problem],
    rollouts_PG: Sequence[Sequence[Rollout]],
    early: Early | None = None,
) -> list[list[Verdict]]:
    """A reward for every rollout, None where it could not be checked, or nothing judges."""
    verified = _verified(parts, problems_P, rollouts_PG, early.verified if early is not None else {})
    checked = [v for group in verified.verdicts_PG for v in group if v.reward is not None]
    if not parts.recipe.judged:
        return verified.verdicts_PG
    m.values["unchecked"] = verified.unchecked
    if not checked:
        raise nothing_checked(verified)
    m.values["reward"] = sum(v.reward or 0.0 for v in checked) / len(checked)
    m.values["correct"] = sum(bool(v.correct) for v in checked) / len(checked)
    m.values["solved_groups"] = sum(any(v.correct for v in group) for group in verified.verdicts_PG) / len(problems_P)
    if (told := _tells_the_answer(problems_P, rollouts_PG, verified.verdicts_PG)) is not None:
        m.values["answer_in_feedback"] = told
    return verified.verdicts_PG


def _verified(
    parts: Parts,
    problems_P: Sequence[Problem],
    rollouts_PG: Sequence[Sequence[Rollout]],
    known: Mapping[int, Verified],
) -> Verified:
    """Those of which it is not known yet are verified now. `known`: by the problem's place."""
    late = [p for p in range(len(problems_P)) if p not in known]
    found = verified_by(parts, [problems_P[p] for p in late], [rollouts_PG[p] for p in late])
    verdicts = {p: each.verdicts_PG[0] for p, each in known.items()} | dict(zip(late, found.verdicts_PG, strict=True))
    reasons = [each.first_reason for each in (*known.values(), found) if each.first_reason]
    return Verified(
        [verdicts[p] for p in range(len(problems_P))],
        found.unchecked + sum(each.unchecked for each in known.values()),
        reasons[0] if reasons else "",
    )


def _tells_the_answer(
    problems_P: Sequence[Problem], rollouts_PG: Sequence[Sequence[Rollout]], verdicts_PG: Sequence[Sequence[Verdict]]
) -> float | None:
    """Of wrong attempts that do not have their problem's answer: those whose feedback states it. None without such.

    Feedback that states another problem's answer as well, such as all letters of a choice, tells nothing.
    """
    told = []
    for problem, rollouts, verdicts in zip(problems_P, rollouts_PG, verdicts_PG, strict=True):
        another = next((p.answer for p in problems_P if p.answer and p.answer != problem.answer), None)
        for rollout, verdict in zip(rollouts, verdicts, strict=True):
            if verdict.correct is False and problem.answer and not _states(rollout.text, problem.answer):
                says = _states(verdict.feedback, problem.answer)
                told.append(says and not (another and _states(verdict.feedback, another)))
    return sum(told) / len(told) if told else None


def _states(text: str, answer: object) -> bool:
    """Whether the answer stands in the text, not as a part of another word or number."""
    return re.search(rf"(?<![\w.]){re.escape(str(answer))}(?!\w|\.\d)", text) is not None
