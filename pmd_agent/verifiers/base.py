"""The seam of all verifiers, and `verify_all`, which keeps "could not be checked" apart from "wrong"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.deadline import call_within

UNCHECKED = Verdict(reward=None, correct=None)
"""The verdict of a check that failed itself."""


class Verifier(Protocol):
    """Anything with this method."""

    def verify(self, problem: Problem, text: str) -> Verdict:
        """The verdict on one completion (`Rollout.text`). Raises where it cannot check; it must not guess."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """The verdicts of a batch, and how many of its rollouts could not be checked."""

    verdicts_PG: list[list[Verdict]]
    unchecked: int = 0
    """How many verdicts have reward None."""
    first_reason: str = ""
    """Why the first of them could not be checked; empty where all were."""


def verify_all(
    verifier: Verifier,
    problems_P: Sequence[Problem],
    texts_PG: Sequence[Sequence[str]],
    *,
    timeout_s: float | None = 60.0,
) -> Verified:
    """Every text's verdict, in the shape of `texts_PG`. `timeout_s`: seconds for one verdict, None for no limit.

    A verifier that raises, runs out of time or returns what is no verdict gives UNCHECKED, never a wrong answer.
    """
    verdicts_PG: list[list[Verdict]] = []
    reasons: list[str] = []
    for problem, texts_G in zip(problems_P, texts_PG, strict=True):
        verdicts_G = []
        for text in texts_G:
            verdict, reason = _verify_one(verifier, problem, text, timeout_s)
            verdicts_G.append(verdict)
            if verdict.reward is None:
                reasons.append(f"{problem.id}: {reason}")
        verdicts_PG.append(verdicts_G)
    return Verified(verdicts_PG, len(reasons), reasons[0] if reasons else "")


def _verify_one(verifier: Verifier, problem: Problem, text: str, timeout_s: float | None) -> tuple[Verdict, str]:
    """A verdict that keeps its promises, and the reason where it is UNCHECKED."""
    try:
        verdict = call_within(lambda: verifier.verify(problem, text), timeout_s)
    # Whatever goes wrong in a check, a user's own included, says nothing about the answer.
    except (Exception, SystemExit) as error:
        return UNCHECKED, f"{type(error).__name__}: {error}"
    fault = _fault(verdict)
    if fault:
        return UNCHECKED, fault
    return verdict, "" if verdict.reward is not None else verdict.feedback or "the verifier gave no reward"


def _fault(verdict: object) -> str:
    """What makes this no verdict; empty where it is one."""
    if not isinstance(verdict, Verdict):
        return f"the verifier returned a {type(verdict).__name__} instead of a Verdict"
    if (verdict.reward is None) != (verdict.correct is None):
        return f"the verifier returned reward {verdict.reward} with correct {verdict.correct}: both or neither are None"
    if verdict.reward is not None and not 0.0 <= verdict.reward <= 1.0:
        return f"the verifier returned the reward {verdict.reward}, outside of [0, 1]"
    return ""
