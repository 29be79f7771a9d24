"""Entries <-> what Chroma can hold, exactly.

Chroma takes valid UTF-8 and flat metadata without None. A policy writes what it likes (lone surrogates, NULs), and an
entry has tuples and None. So an entry is stored whole as JSON in one metadata field, and characters that Chroma or
the tools around SQLite stumble over are escaped, reversibly. Flat fields beside it are copies for tools and the index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from pmd_agent.types import Behavior, Experience, Insight, Tier

Entry = Experience | Insight | Behavior
"""What one row holds."""
E = TypeVar("E", Experience, Insight, Behavior)
Metadata = dict[str, Any]
"""One row: `entry` (JSON), tier, step, policy_version, problem_id, kind, position, and in the archive retired_at."""

_TYPES: dict[Tier, type[Experience] | type[Insight] | type[Behavior]] = {
    "experience": Experience,
    "insight": Insight,
    "behavior": Behavior,
}

# DLE ("data link escape") leads an escape: ordinary text never holds it, so ordinary text is stored as it reads.
_DLE = "\x10"
_UNSAFE = re.compile(f"[{_DLE}\x00\ud800-\udfff]")
_ESCAPED = re.compile(f"{_DLE}([0-9a-f]{{4}})")
_NUMBERS = re.compile(r"(\d+)")


def escape(text: str) -> str:
    """Injective; valid UTF-8 without NUL. Identical for ordinary text."""
    return _UNSAFE.sub(lambda found: f"{_DLE}{ord(found[0]):04x}", text)


def unescape(text: str) -> str:
    """The inverse of `escape`."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def key_of(tier: Tier, entry_id: str) -> str:
    """The id of a row in Chroma: with the tier, because the archive holds entries of all tiers."""
    return f"{tier}:{escape(entry_id)}"


def version_key(key: str, step: int) -> str:
    """The id under which the archive holds what `step` wrote of an entry that a later step wrote anew."""
    return f"{key}{_DLE}@{step}"  # no escape begins like this


def live_key(key: str) -> str:
    """The inverse of `version_key`; any other key is itself."""
    return key.partition(f"{_DLE}@")[0]


def tier_of(entry: Entry) -> Tier:
    """The tier that an entry belongs to."""
    return next(tier for tier, kind in _TYPES.items() if isinstance(entry, kind))


def encode(entry: Entry) -> str:
    """The whole entry as escaped JSON."""
    # Not JSON's own \ud83d escapes: it reads back two lone surrogates in a row as one character.
    whole = {f.name: getattr(entry, f.name) for f in fields(entry)}
    return escape(json.dumps(whole, ensure_ascii=False))


def decode(tier: Tier, packed: str) -> Entry:
    """The inverse of `encode`."""
    whole: dict[str, Any] = json.loads(unescape(packed))
    for name, value in whole.items():
        if isinstance(value, list):
            whole[name] = tuple(value)
    return _TYPES[tier](**whole)


def metadata_of(entry: Entry, *, step: int, position: int) -> Metadata:
    """A live row's metadata. `step` is the step that wrote it, `position` its place in the list it was written with."""
    return {
        "entry": encode(entry),
        "tier": tier_of(entry),
        "step": step,
        "policy_version": entry.policy_version,
        "problem_id": "" if isinstance(entry, Behavior) else escape(entry.problem_id),
        "kind": _kind_of(entry),
        "position": position,
    }


def _kind_of(entry: Entry) -> str:
    if isinstance(entry, Experience):
        return "correct" if entry.correct else "wrong"
    return entry.kind if isinstance(entry, Insight) else "behavior"


def natural(text: str) -> tuple[str | int, ...]:
    """A sort key under which `3/p/10` follows `3/p/9`."""
    parts = _NUMBERS.split(text)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts))


def once_each(entries: Iterable[E]) -> list[E]:
    """Chroma refuses an id twice in one call. The last one written wins, in the place of the first."""
    return list({entry.id: entry for entry in entries}.values())
