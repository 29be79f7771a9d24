"""Who leaves a tier that is over its budget, or has grown too old. The rule, by tier; who leaves is archived, not deleted.

experience   failed attempts first, then correct ones; the oldest first. The newest correct attempt of each problem last of all.
insight      what is quarantined or retired, then what fewest reflections said, then the least confident, the oldest first
behavior     what is quarantined or retired, then what fewest problems support, the oldest first
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pmd_agent.memory.backend.codec import Entry
from pmd_agent.memory.effects import Effects
from pmd_agent.types import Behavior, Experience, Tier


@dataclass(frozen=True, slots=True)
class Limits:
    """None, and a tier that is not named: no limit."""

    budgets: Mapping[Tier, int | None] = field(default_factory=dict)
    """Live entries of a tier."""
    max_steps: int | None = None
    """Steps since an entry was written, or last said again."""
    max_versions: int | None = None
    """Versions of the policy since then."""


def evicted(
    tier: Tier,
    entries: Sequence[Entry],
    limits: Limits,
    effects: Effects,
    *,
    step: int,
    policy_version: int,
    imported: Collection[str] = (),
) -> list[Entry]:
    """Of the live `entries` of a tier (newest first) those that leave. What was `imported` is as old as the run."""
    old = {e.id for e in entries if _too_old(e, limits, step, policy_version, e.id in imported)}
    leaving = [e for e in entries if e.id in old]
    staying = [e for e in entries if e.id not in old]
    budget = limits.budgets.get(tier)
    surplus = len(staying) - budget if budget is not None else 0
    if surplus <= 0:
        return leaving
    last = _newest_correct(staying)
    ages = {e.id: -place for place, e in enumerate(staying)}  # oldest first

    def rank(entry: Entry) -> tuple[Any, ...]:
        if isinstance(entry, Experience):
            return entry.id in last, entry.correct, ages[entry.id]
        live = effects.state(entry.id) in ("live", "trial")
        if isinstance(entry, Behavior):
            return live, entry.support, ages[entry.id]
        return live, entry.support, entry.confidence, ages[entry.id]

    return [*leaving, *sorted(staying, key=rank)[:surplus]]


def _too_old(entry: Entry, limits: Limits, step: int, policy_version: int, imported: bool) -> bool:
    # A bank counts steps and versions of the run that it came from.
    written, version = (-1, 0) if imported else (entry.step, entry.policy_version)
    return (limits.max_steps is not None and step - written > limits.max_steps) or (
        limits.max_versions is not None and policy_version - version > limits.max_versions
    )


def _newest_correct(entries: Sequence[Entry]) -> set[str]:
    newest: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, Experience) and entry.correct:
            newest.setdefault(entry.problem_id, entry.id)
    return set(newest.values())
