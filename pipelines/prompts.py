"""How attempts and insights are laid out for the policy that reflects on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from pmd_agent.pipelines.program_views import one_line
from pmd_agent.text import cut
from pmd_agent.types import Attempt, Experience, Insight

_TURN = re.compile(r"^Turn \d{1,6}$", re.MULTILINE)
"""The heading of a turn in an episode's transcript (pmd_agent/transcript.py)."""
E = TypeVar("E", Attempt, Experience)


def choose_attempts(experiences: Sequence[E], limit: int) -> list[E]:
    """The best and the worst, contrasted: up to half correct ones, the rest failed, each text once, correct first.

    Where one side is short the other takes its places. Correct ones best first, failed ones worst first.
    """
    seen: set[str] = set()
    correct: list[E] = []
    failed: list[E] = []
    for experience in sorted(experiences, key=lambda e: -e.reward):
        key = " ".join(experience.text.split())
        if key not in seen:
            seen.add(key)
            (correct if experience.correct else failed).append(experience)
    failed.reverse()  # worst first: partial credit is shown last
    if correct and failed:
        take = min(len(correct), max(1, limit // 2, limit - len(failed)))
        return correct[:take] + failed[: limit - take]
    return (correct or failed)[:limit]


def render_attempts(experiences: Sequence[E], attempt_chars: int) -> str:
    """Numbered attempts with verdict and feedback; each trimmed in its middle to `attempt_chars` characters.

    The end of an attempt holds its answer. What a text may not say was seen to when the view of it was made. Of an episode, the
    turns that an earlier one has as well are left out, so that it is read where they part.
    """
    parts = []
    texts = where_they_part([experience.text for experience in experiences])
    for number, (experience, text) in enumerate(zip(experiences, texts, strict=True), 1):
        verdict = "correct" if experience.correct else "failed"
        parts.append(f"[{number}] {verdict}\n{cut(text, attempt_chars)}")
        if experience.feedback:
            parts.append(f"feedback: {cut(experience.feedback, attempt_chars)}")
    return "\n".join(parts)


def where_they_part(texts: Sequence[str]) -> list[str]:
    """Episodes without the turns with which an earlier one begins as well, word by word; other texts as they are.

    The last turn of an episode stays, whatever others say.
    """
    turns = [_turns(text) for text in texts]
    found = []
    for i, (text, mine) in enumerate(zip(texts, turns, strict=True)):
        shared, of = max(((_common(mine, turns[j]), -j) for j in range(i)), default=(0, 0))
        shared = min(shared, len(mine) - 1)
        if shared > 0:
            which = "Turn 1" if shared == 1 else f"Turns 1 to {shared}"
            text = "".join([f"({which}: as in attempt {1 - of})\n", *mine[shared:]])
        found.append(text)
    return found


def _turns(text: str) -> list[str]:
    """The turns of an episode's transcript, each with its heading; none of any other text."""
    starts = [match.start() for match in _TURN.finditer(text)]
    if not starts or starts[0] != 0:
        return []
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many turns both begin with. The last turn of one may be followed by more in the other."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a.rstrip() != b.rstrip()), min(len(one), len(other)))


def render_insights(insights: Sequence[Insight], limit: int) -> tuple[str, list[Insight]]:
    """One distinct insight a line with the number of problems that hold it, alphabetical; also those that were shown.

    The best supported `limit` lines are kept. Sorting puts insights about one thing side by side, so that what agrees and
    what contradicts stands together.
    """
    problems: dict[str, set[str]] = {}
    for insight in insights:
        problems.setdefault(" ".join(insight.text.split()), set()).add(insight.problem_id)
    kept = sorted(sorted(problems, key=lambda text: (-len(problems[text]), text))[:limit])
    shown = [insight for insight in insights if " ".join(insight.text.split()) in set(kept)]
    return "\n".join(f"- {one_line(text)} ({len(problems[text])})" for text in kept), shown
