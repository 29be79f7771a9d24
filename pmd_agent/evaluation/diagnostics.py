"""Gauges of how the policy writes, and the alarms and the stop rule that follow from what the steps report.

Pure: texts and recorded metrics in, numbers and sentences out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pmd_agent.distillation.teacher_page import STYLES

MARKERS = (
    *(words.introduction.partition(".")[0].lower() for words in STYLES.values()),
    *(
        heading.rstrip(":").lower()
        for words in STYLES.values()
        for heading in (words.behaviors, words.strategies, words.lessons, words.demonstration, words.feedback)
    ),
    "as the memory",
    "the memory says",
)
"""What an answer says that was learnt from the teacher's prompt, not from the problem."""
GRAM = 4
"""Words of a phrase whose return is a repetition."""


def repetition(text: str) -> float:
    """Share of the text's 4-grams of words that were there before, in [0, 1]; 0 for fewer than five words."""
    words = text.split()
    grams = Counter(zip(*(words[i:] for i in range(GRAM)), strict=False))
    return 1.0 - len(grams) / grams.total() if grams else 0.0


def speaks_of_memory(text: str) -> bool:
    """Whether a memory-free answer has a marker of the teacher's prompt."""
    return any(marker in " ".join(text.lower().split()) for marker in MARKERS)


def writing(texts: Sequence[str]) -> dict[str, float]:
    """Means over answers: `repetition`, and `markers`, the share that speak of memory."""
    n = max(1, len(texts))
    return {"repetition": sum(map(repetition, texts)) / n, "markers": sum(map(speaks_of_memory, texts)) / n}


def internalisation(base: float | None, free: float | None, with_memory: float | None) -> float | None:
    """(free - base) / (with memory - base): what the weights have kept of what memory gives.

    All three are accuracies; None where one is missing, or memory gives nothing over the base.
    """
    if base is None or free is None or with_memory is None or with_memory <= base:
        return None
    return (free - base) / (with_memory - base)


def spent(gains: Sequence[float | None], patience: int | None) -> bool:
    """Whether the last `patience` teacher gains that could be measured were all <= 0: the teacher has nothing left to teach."""
    measured = [gain for gain in gains if gain is not None]
    return patience is not None and len(measured) >= patience and max(measured[-patience:]) <= 0


# ---- alarms

LONGER, SHORTER, CUT, REPEATING, MARKED, COLLAPSED, TOLD = 2.0, 0.5, 0.5, 0.5, 0.02, 0.5, 0.5
"""Times the first length, upwards; of the first or of the last one, downwards; shares of answers cut, of repeated 4-grams and of
marked answers; share of the best validation; share of wrong attempts whose feedback has the answer."""


def alarms(history: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> list[str]:
    """One sentence for each bound that this step crosses; a bound that stays crossed is not said again."""
    found = []
    for key, beyond, sentence in _ALARMS:
        if now.get(key) is None:
            continue
        before = [float(row[key]) for row in history if row.get(key) is not None]
        values = [*before, float(now[key])]
        if beyond(values) and not (before and beyond(before)):
            last = before[-1] if before else values[0]
            found.append(sentence.format(now=values[-1], start=values[0], before=last, best=max(values)))
    return found


def all_alarms(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """(step, sentence) of each alarm of a run, in the order of its steps."""
    return [(int(row["step"]), sentence) for place, row in enumerate(rows) for sentence in alarms(rows[:place], row)]


def _above(bound: float) -> Callable[[Sequence[float]], bool]:
    return lambda values: values[-1] > bound


_ALARMS: tuple[tuple[str, Callable[[Sequence[float]], bool], str], ...] = (
    (
        "response_tokens",
        lambda values: values[-1] >= LONGER * values[0],
        "answers have grown to {now:.0f} tokens, from {start:.0f} at the start",
    ),
    (
        "response_tokens",
        lambda values: values[-1] <= SHORTER * values[0] or values[-1] <= SHORTER * values[-2:][0],
        "answers have shrunk to {now:.0f} tokens, from {start:.0f} at the start and {before:.0f} in the step before: where "
        "accuracy falls too, lower distill.lr or raise distill.warmup; where the teacher answers in few words, they follow it",
    ),
    (
        "correct",
        lambda values: len(values) == 1 and values[0] == 0.0,
        "not one attempt was right: where that stays so, there is only what failed to learn from",
    ),
    (
        "correct",
        lambda values: len(values) == 1 and values[0] == 1.0,
        "every attempt was right: there is little to learn from these problems",
    ),
    (
        "reflections_lost",
        _above(0.0),
        "not one reflection could be read, so nothing was learnt from the attempts (pipeline.reflector, pipeline.max_tokens)",
    ),
    (
        "answer_in_feedback",
        _above(TOLD),
        "the verifier's feedback states the problem's answer in {now:.2f} of the wrong attempts: reflections and teachers read it",
    ),
    ("updates_skipped", _above(0.0), "{now:.0f} updates were skipped: their gradient was not finite"),
    ("truncated", _above(CUT), "{now:.2f} of the answers are cut at rollout.max_tokens"),
    ("repetition", _above(REPEATING), "answers repeat themselves: {now:.2f} of their 4-grams were there before"),
    ("markers", _above(MARKED), "{now:.2f} of the answers without memory speak of memory"),
    (
        "validation",
        lambda values: values[-1] < COLLAPSED * max(values),
        "validation accuracy has fallen to {now:.3f}, from {best:.3f} at its best",
    ),
)
