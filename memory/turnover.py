"""Who stays live when new memories come: pure rules, no store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pmd_agent.types import Behavior, Insight


def live_insights(new: Sequence[Insight], old: Sequence[Insight], *, lessons: int) -> list[Insight]:
    """Of one problem's new and so far live insights (newest first) those that are live from now on.

    Strategies: the new ones if there are any, else the old ones. Lessons: newest first, of equal ones the newest, at
    most `lessons`.
    """
    strategies = [i for i in new if i.kind == "strategy"] or [i for i in old if i.kind == "strategy"]
    distinct: dict[str, Insight] = {}
    for insight in (*new, *old):
        if insight.kind == "lesson":
            distinct.setdefault(_words(insight.text), insight)
    return [*strategies, *list(distinct.values())[:lessons]]


def live_behaviors(generation: Iterable[Behavior]) -> list[Behavior]:
    """One behavior a name: the first."""
    by_name: dict[str, Behavior] = {}
    for behavior in generation:
        by_name.setdefault(behavior.name, behavior)
    return list(by_name.values())


def _words(text: str) -> str:
    # Texts that differ in case and white space alone are one text.
    return " ".join(text.casefold().split())
