"""What a run has remembered, with what each memory was made from, and what became of it step by step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pmd_agent.memory import Memory
from pmd_agent.text import cut, readable
from pmd_agent.types import TIERS, Behavior, Insight

ENTRIES = 20_000
"""Insights and behaviors that are shown, the newest; it says how many there are more."""
CHARACTERS = 1_500
_MADE = re.compile(r"(?:g\d+/)?(\d+)/")
"""An id begins with the step that made it."""

Written = Behavior | Insight
Event = tuple[int, str, str, str]
"""(step, came | changed | went | a state, memory id, why)"""


def memories_of(memory: Memory, steps: int, evictions: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Entries, events and sizes. `evictions`: step -> its line of metrics, which says what left for age or room."""
    everything = _everything(memory)
    shown = everything[:ENTRIES]
    names = {entry.id for entry in shown}
    generalised = {e.step for e in everything if isinstance(e, Behavior)}
    reflected = {(e.problem_id, e.kind, _made(e)) for e in everything if isinstance(e, Insight)}
    events: list[Event] = []
    for entry in shown:
        events.append((_made(entry), "came", entry.id, _came(entry)))
        if (gone := memory.retired_at(entry)) is not None:
            events.append((gone, "went", entry.id, _went(entry, gone, generalised, reflected, evictions)))
    for step, name in (*memory.rewritten("insight"), *memory.rewritten("behavior")):
        events.append((step, "changed", name, "said again"))
    events += [(step, state, name, why) for step, name, state, why in memory.verdicts()]
    events = [event for event in events if event[2] in names]
    events.sort(key=lambda event: -event[0])
    return {
        "step": steps,
        "sizes": memory.sizes(range(steps)),
        "entries": [_entry(memory, entry) for entry in shown],
        "events": [(step, what, readable(name), readable(why)) for step, what, name, why in events],
        "more": len(everything) - len(shown),
        "archive": memory.counts()["archive"],
    }


def _everything(memory: Memory) -> list[Written]:
    """Each once, as it was last; behaviors first, live ones before archived ones, newest first."""
    found: dict[str, Written] = {}
    for tier in reversed(TIERS[1:]):
        for entry in memory.list(tier, include_archived=True):
            if isinstance(entry, (Behavior, Insight)):
                found.setdefault(entry.id, entry)
    return list(found.values())


def _made(entry: Written) -> int:
    """The step that first wrote it; -1 for what was there before the first."""
    made = _MADE.match(entry.id)
    return min(int(made[1]), entry.step) if made else entry.step


def _came(entry: Written) -> str:
    if isinstance(entry, Behavior):
        return f"by a generalisation: {entry.support_in_words}"
    return f"by a reflection on {entry.problem_id}"


def _went(
    entry: Written,
    gone: int,
    generalised: Iterable[int],
    reflected: Iterable[tuple[str, str, int]],
    evictions: Mapping[int, Mapping[str, Any]],
) -> str:
    """Why, as far as the steps tell: the archive keeps the step alone."""
    tier = "behavior" if isinstance(entry, Behavior) else "insight"
    evicted = bool(evictions.get(gone, {}).get(f"evicted_{tier}"))
    if isinstance(entry, Behavior):
        replaced = gone in generalised
        why = "a generalisation did not find it again"
    else:
        replaced = (entry.problem_id, entry.kind, gone) in reflected
        why = "newer strategies of its problem took its place"
        if entry.kind == "lesson":
            why = "newer lessons of its problem took its place (memory.lessons_kept)"
    left = "it was too old, or beyond the budget of its tier"
    if replaced and evicted:
        return f"{why}, or {left}"
    return left if evicted and not replaced else why


def _entry(memory: Memory, entry: Written) -> dict[str, Any]:
    effects = memory.effects()
    tried = effects.tried(entry.id)
    found: dict[str, Any] = {
        "id": readable(entry.id),
        "kind": "behavior" if isinstance(entry, Behavior) else entry.kind,
        "text": cut(readable(entry.text), CHARACTERS),
        "came": _made(entry),
        "last": entry.step,
        "went": memory.retired_at(entry),
        "state": memory.state(entry),
        "read": effects.uses(entry.id),
        "sources": [readable(source) for source in entry.sources],
        "program": readable(entry.program),
    }
    if isinstance(entry, Behavior):
        found |= {"name": readable(entry.name), "support": entry.support_in_words}
    else:
        found |= {
            "problem": readable(entry.problem_id),
            "support": f"said {entry.support} time{'' if entry.support == 1 else 's'}",
        }
    if entry.merged:
        found["merged"] = [readable(name) for name in entry.merged]
    if why := effects.why(entry.id):
        found["why"] = readable(why)
    if tried.n:
        found["alone"] = f"{1 + tried.mean:.2f} ± {tried.error:.2f} times as likely"
    return found
