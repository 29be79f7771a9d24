"""What a reflection is worth, as metrics for DSPy: scores in [0, 1], with the reasons where an optimiser (GEPA) reads them.

parse         the share of what was said that can be kept
support       the share of sentences that the attempts bear out, by their words
teacher_gain  what reading them does to a teacher, measured (the likelihoods come from whoever has the weights)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import dspy

from pmd_agent.pipelines.run_programs import well_formed
from pmd_agent.types import Attempt, ProblemView

Judge = Callable[[dspy.Example, Any], tuple[float, str]]
"""From an example of a training set and a prediction to a score and its reasons."""
Shifts = Callable[[ProblemView, Sequence[str], Sequence[str], Sequence[Attempt]], Sequence[float]]
"""Of each attempt: log-probability with the strategies and lessons before the problem, less that without; nats a token."""
ENOUGH = 0.5
"""Of a sentence's words and pairs of words that an attempt has, where there is nothing to compare it with."""


class Metric:
    """A judge in the forms in which DSPy calls metrics: a float, and for GEPA, which names a predictor, a score with feedback."""

    def __init__(self, judge: Judge, name: str) -> None:
        self.judge, self.__name__ = judge, name

    def __call__(
        self,
        example: dspy.Example,
        prediction: Any,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> Any:
        score, feedback = self.judge(example, prediction)
        return score if pred_name is None else dspy.Prediction(score=score, feedback=feedback)


def parse_within(max_insights: int = 8, insight_chars: int = 400) -> Metric:
    """The share of sentences that are kept: distinct, not empty, not too long, not too many. Nothing said is worth 0."""

    def judge(example: dspy.Example, prediction: Any) -> tuple[float, str]:
        lists = [_get(prediction, name) for name in ("strategies", "lessons")]
        if all(said is None for said in lists):
            return 0.0, "There is neither a list of strategies nor one of lessons."
        kept, dropped = 0, 0
        for said in lists:
            texts, lost = well_formed(said, insight_chars, max_insights)
            kept, dropped = kept + len(texts), dropped + lost
        if not kept + dropped:
            return 0.0, "Both lists are empty: nothing is learnt from these attempts."
        if dropped:
            limits = f"at most {max_insights} distinct sentences in each list, each of 1 to {insight_chars} characters"
            return kept / (kept + dropped), f"{dropped} of {kept + dropped} sentences were dropped: {limits}."
        return 1.0, "All sentences are kept."

    return Metric(judge, "parse")


parse = parse_within()


def _support(example: dspy.Example, prediction: Any) -> tuple[float, str]:
    """The share of supported sentences; 0 where nothing is said.

    By words and pairs of words: a strategy is supported where correct attempts have more of it, on average, than failed ones,
    a lesson where failed ones do. Where all are of one kind, one attempt that has half of it is enough. No strategy is
    supported without a correct attempt, and no sentence that states a correct attempt's answer (of two characters or more).
    """
    strategies, lessons = sentences(prediction)
    correct = [_grams(a.text) for a in example.experiences if a.correct]
    failed = [_grams(a.text) for a in example.experiences if not a.correct]
    sides = [(text, correct, failed, "correct", "failed") for text in strategies]
    sides += [(text, failed, correct, "failed", "correct") for text in lessons]
    reasons = []
    for text, have, lack, those, others in sides:
        if _tells(text, example):
            reasons.append(f"{text!r} states the final answer.")
        elif not have:
            reasons.append(f"{text!r}: there is no {those} attempt that it could come from.")
        elif not _borne_out(_grams(text), have, lack):
            reasons.append(f"{text!r} is not borne out: {those} attempts have no more of it than {others} ones.")
    if not sides:
        return 0.0, "Nothing is said."
    return 1 - len(reasons) / len(sides), " ".join(reasons) or "All sentences are borne out by the attempts."


support = Metric(_support, "support")


def teacher_gain_by(shifts: Shifts) -> Metric:
    """sigmoid(mean shift of correct attempts - mean shift of failed ones), in nats a token: 0.5 where reading does nothing.

    Sentences that state a correct attempt's answer are not read: they would win without teaching anything. What did not
    parse is worth 0. Where all attempts are of one kind, the other mean is 0.
    """

    def judge(example: dspy.Example, prediction: Any) -> tuple[float, str]:
        if prediction is None or all(_get(prediction, name) is None for name in ("strategies", "lessons")):
            return 0.0, "There is neither a list of strategies nor one of lessons."
        strategies, lessons = ([t for t in said if not _tells(t, example)] for said in sentences(prediction))
        if not strategies + lessons or not example.experiences:
            return 0.5, "There is nothing to read, or all of it states the final answer."
        moved = list(
            zip(example.experiences, shifts(example.problem, strategies, lessons, example.experiences), strict=True)
        )
        right, wrong = (_mean([shift for a, shift in moved if a.correct is side]) for side in (True, False))
        feedback = (
            f"Reading this moved the log-probability of correct attempts by {right:+.3f} and of failed ones by {wrong:+.3f} "
            "nats a token. The first should rise, the second fall."
        )
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, right - wrong)))), feedback

    return Metric(judge, "teacher_gain")


def sentences(prediction: Any) -> tuple[list[str], list[str]]:
    """Strategies and lessons as they would be kept, of any number and length."""
    strategies, lessons = (
        well_formed(_get(prediction, name), 1 << 20, 1 << 20)[0] for name in ("strategies", "lessons")
    )
    return strategies, lessons


def _get(prediction: Any, name: str) -> Any:
    return prediction.get(name) if hasattr(prediction, "get") else None


def _grams(text: str) -> set[tuple[str, ...]]:
    """Words and pairs of words that follow each other, in lower case."""
    words = re.findall(r"[^\W_]+", text.lower())
    return {(word,) for word in words} | set(zip(words, words[1:], strict=False))


def _borne_out(
    sentence: set[tuple[str, ...]], have: Sequence[set[tuple[str, ...]]], lack: Sequence[set[tuple[str, ...]]]
) -> bool:
    if not sentence:
        return False
    shares, others = ([len(sentence & attempt) / len(sentence) for attempt in side] for side in (have, lack))
    return _mean(shares) > _mean(others) if others else max(shares) >= ENOUGH


def _tells(text: str, example: dspy.Example) -> bool:
    answers = [str(answer).strip() for answer in example.get("answers") or ()]
    return any(len(a) > 1 and re.search(rf"(?<!\w){re.escape(a)}(?!\w)", text) for a in answers)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
