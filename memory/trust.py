"""The state of each memory (live, trial, quarantined, retired), by its trials and by what the student solves alone. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pmd_agent.memory.effects import Effects, State

CORRECT = 4
"""Correct rollouts that a memory must have been tried on; below them a standard error says little."""
CLEAR = 0.1
"""A memory that changes the chance of success by less than this share neither helps nor harms, however sure that is."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a state changes. None: never."""

    harmful: float | None = 2.0
    """With `trial`: quarantined is what makes correct rollouts less likely by more than so many standard errors."""
    trial: bool = False
    """Judged by what each did when it was tried alone; on trial until it has helped."""
    absorbed: float | None = None
    """Retired: the student solves so large a share of its last rollouts of every problem of it, without memory."""


def transitions(
    effects: Effects, problems_of: Mapping[str, Collection[str]], rules: Rules
) -> dict[str, tuple[State, str]]:
    """Memory id -> its new state and why, of those in `problems_of` (id -> the problems that it is about) that change.

    With `trial`, quarantined ones return to their trial when they no longer harm, or to life when they are shown to help;
    without, they stay as they are. Retired ones return when the student fails at one of their problems again.
    """
    changed: dict[str, tuple[State, str]] = {}
    for entry_id, problems in problems_of.items():
        state, why = _judged(effects, entry_id, problems, rules)
        if state != effects.state(entry_id):
            changed[entry_id] = state, why
    return changed


def _judged(effects: Effects, entry_id: str, problems: Collection[str], rules: Rules) -> tuple[State, str]:
    now = effects.state(entry_id)
    if rules.trial and (found := _tried(effects, entry_id, rules)):
        return found
    if now == "quarantined":
        return now, ""
    if rules.absorbed is not None and problems:
        rates = [effects.passed[p][1] if p in effects.passed else 0.0 for p in problems]
        if min(rates) >= rules.absorbed:
            return "retired", f"the student solves its {len(rates)} problems without it"
    return "live", "needed again" if now != "live" else ""


def _tried(effects: Effects, entry_id: str, rules: Rules) -> tuple[State, str] | None:
    """By what it did alone; None where that leaves it live."""
    sums, now = effects.tried(entry_id), effects.state(entry_id)
    shown = (
        f"alone it makes correct rollouts {1 + sums.mean:.2f} ± {sums.error:.2f} times as likely, {sums.n:.0f} of them"
    )
    known = rules.harmful is not None and sums.n >= CORRECT
    margin = (rules.harmful or 0.0) * sums.error
    if known and sums.mean + margin < -CLEAR:
        return "quarantined", f"harmful: {shown}"
    if known and sums.mean - margin > CLEAR and now in ("trial", "quarantined"):
        return "live", f"helps: {shown}"
    if known and sums.mean > 0 and now == "quarantined":
        return "trial", f"no longer harmful: {shown}"
    return (now, "") if now in ("trial", "quarantined") else None
