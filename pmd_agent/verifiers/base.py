"""The seam of all verifiers, and `verify_all`, which keeps "could not be checked" apart from "wrong"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.deadline import call_within

A = TypeVar("A")
B = TypeVar("B")
UNCHECKED = Verdict(reward=None, correct=None)
"""The verdict of a check that failed itself."""


class Verifier(Protocol):
    """Anything with this method. One that may be called from several threads says from how many: `parallel: int`.

    One whose answers cannot be compared with each other says `votes = False`: there is no maj@k then.
    """

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
    known_PG: Sequence[Sequence[Verdict | None]] | None = None,
) -> Verified:
    """Every text's verdict, in the shape of `texts_PG`. `timeout_s`: seconds for one verdict, None for no limit.

    Of texts whose verdict is known (an environment's) the verifier is not asked.

    A verifier that raises, runs out of time or returns what is no verdict gives UNCHECKED, never a wrong answer.
    """
    known_PG = known_PG or [[None] * len(texts_G) for texts_G in texts_PG]
    rows = zip(problems_P, texts_PG, known_PG, strict=True)
    asked = [(p, text) for p, texts_G, known_G in rows for text, v in zip(texts_G, known_G, strict=True) if v is None]

    def verify_one(pair: tuple[Problem, str]) -> tuple[Verdict, str]:
        return _verify_one(verifier, *pair, timeout_s)

    found_N = iter(_side_by_side(verify_one, asked, getattr(verifier, "parallel", 1)))
    found_PG = [[next(found_N) if v is None else (v, v.feedback) for v in known_G] for known_G in known_PG]
    reasons = [
        f"{problem.id}: {reason}"
        for problem, found_G in zip(problems_P, found_PG, strict=True)
        for verdict, reason in found_G
        if verdict.reward is None
    ]
    verdicts_PG = [[verdict for verdict, _ in found_G] for found_G in found_PG]
    return Verified(verdicts_PG, len(reasons), reasons[0] if reasons else "")


def _side_by_side(function: Callable[[A], B], arguments_N: Sequence[A], threads: int) -> list[B]:
    """The results, in order. With one thread it is this one, where a time limit really interrupts."""
    if threads <= 1:
        return [function(argument) for argument in arguments_N]
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(function, argument) for argument in arguments_N]
        try:
            return [future.result() for future in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
