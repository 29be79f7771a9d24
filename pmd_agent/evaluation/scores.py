"""How good the policy is: avg@k, pass@k and maj@k over fresh rollouts, overall and by kind of problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from pmd_agent.text import cut
from pmd_agent.types import Problem, Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """One problem's k rollouts. Those that could not be checked are counted apart and enter no average."""

    problem_id: str
    kind: str
    checked: int
    correct: int
    majority: bool | None
    """Whether the most frequent answer is a correct one (ties: the one given first); None where answers cannot be compared."""
    unchecked: int
    answers: tuple[dict[str, Any], ...] = ()
    """The first few, to be read: text (its middle cut where it is long), what was parsed out of it, and whether it is correct."""

    def record(self) -> dict[str, Any]:
        return {
            "problem": self.problem_id, "kind": self.kind, "checked": self.checked, "correct": self.correct,
            "majority": self.majority, "unchecked": self.unchecked, "answers": list(self.answers),
        }  # fmt: skip


KEPT, KEPT_CHARS = 4, 4_000
"""Answers of a problem whose texts are kept, and characters of each."""


def score(
    problems: Sequence[Problem],
    verdicts_PG: Sequence[Sequence[Verdict]],
    texts_PG: Sequence[Sequence[str]] = (),
    *,
    votes: bool = True,
) -> list[Outcome]:
    """Verdicts counted, a problem a row, with the first few of its texts where they are given.

    There is no majority without `votes` (of programs two right ones are rarely spelt alike), nor where no verdict has an answer,
    or one is correct without any: such a verifier returns rewards alone.
    """
    all_N = [v for verdicts in verdicts_PG for v in verdicts]
    votes = votes and any(v.answer is not None for v in all_N)
    votes = votes and not any(v.correct and v.answer is None for v in all_N)
    outcomes = []
    for number, (problem, verdicts) in enumerate(zip(problems, verdicts_PG, strict=True)):
        checked = [v for v in verdicts if v.reward is not None]
        outcomes.append(
            Outcome(
                problem.id,
                problem.kind,
                len(checked),
                sum(bool(v.correct) for v in checked),
                _majority(checked) if votes else None,
                len(verdicts) - len(checked),
                tuple(
                    {"text": cut(text, KEPT_CHARS), "answer": v.answer, "correct": v.correct}
                    for text, v in zip(texts_PG[number][:KEPT], verdicts, strict=False)
                )
                if texts_PG
                else (),
            )
        )
    return outcomes


def _majority(checked: Sequence[Verdict]) -> bool:
    answers = Counter(v.answer for v in checked if v.answer is not None)
    leading = answers.most_common(1)[0][0] if answers else None
    return any(v.correct for v in checked if v.answer == leading) if leading is not None else False


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that at least one of k draws without replacement out of n is correct: 1 - C(n-c, k) / C(n, k).

    The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374).
    """
    if not 0 < k <= n:
        raise ValueError(f"pass@{k} of {n} rollouts")
    return 1.0 - comb(n - correct, k) / comb(n, k)


def accuracy(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Means over problems, in [0, 1]: `avg` (avg@k), `pass` (pass@k) and `maj` (maj@k), and the same by kind.

    None where there is nothing to count. Answers that could not be checked are in none of them: `unchecked_share` says how
    many these are, and `avg_as_wrong` what avg@k would be if they were wrong.
    """
    found = _means(outcomes)
    kinds = sorted({o.kind for o in outcomes if o.kind})
    if len(kinds) > 1:
        found["by_kind"] = {kind: _means([o for o in outcomes if o.kind == kind]) for kind in kinds}
    return found


def shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Problem id -> the share of its checked rollouts that are correct."""
    return {o.problem_id: o.correct / o.checked for o in outcomes if o.checked}


def _means(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    counted = [o for o in outcomes if o.checked]
    left_out = {
        "unchecked": sum(o.unchecked for o in outcomes),
        "unchecked_share": round(unchecked_share(outcomes), 4),
        "avg_as_wrong": avg_as_wrong(outcomes),
    }
    if not counted:
        return {"avg": None, "pass": None, "maj": None, "k": 0, "problems": 0, **left_out}
    n = len(counted)
    voted = [o.majority for o in counted if o.majority is not None]
    return {
        "avg": round(sum(o.correct / o.checked for o in counted) / n, 4),
        "pass": round(sum(pass_at_k(o.checked, o.correct, o.checked) for o in counted) / n, 4),
        "maj": round(sum(voted) / len(voted), 4) if voted else None,
        "k": max(o.checked for o in counted),
        "problems": n,
        **left_out,
    }


def unchecked_share(outcomes: Sequence[Outcome]) -> float:
    """Of all answers, those that could not be checked, which enter no average; 0 where there is no answer."""
    answers = sum(o.checked + o.unchecked for o in outcomes)
    return sum(o.unchecked for o in outcomes) / answers if answers else 0.0


def avg_as_wrong(outcomes: Sequence[Outcome]) -> float | None:
    """avg@k if every answer that could not be checked were wrong: what can be said at least. None without answers."""
    answered = [o for o in outcomes if o.checked + o.unchecked]
    if not answered:
        return None
    return round(sum(o.correct / (o.checked + o.unchecked) for o in answered) / len(answered), 4)
