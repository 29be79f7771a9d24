"""How attempts and insights are laid out for the policy that reflects on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pmd_agent.pipelines.program_views import one_line
from pmd_agent.text import cut
from pmd_agent.types import Attempt, Experience, Insight

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

    The end of an attempt holds its answer. What a text may not say was seen to when the view of it was made.
    """
    parts = []
    for number, experience in enumerate(experiences, 1):
        verdict = "correct" if experience.correct else "failed"
        parts.append(f"[{number}] {verdict}\n{cut(experience.text, attempt_chars)}")
        if experience.feedback:
            parts.append(f"feedback: {cut(experience.feedback, attempt_chars)}")
    return "\n".join(parts)


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
