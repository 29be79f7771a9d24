"""Keys that earlier releases had: a recipe of today that is a copy of an old one, or a run's, still loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_TRIALS = (
    "memories are measured by memory.lift.trial alone, which finds what leaving them out did not (docs/memory.md)"
)
GONE: dict[str, tuple[object, str]] = {
    "memory.lift.leave_out": (0.0, _BY_TRIALS),
    "memory.lift.leave_out_tier": (0.0, "distill.tier_gains_every measures each tier"),
    "memory.lift.least": (None, _BY_TRIALS),
    "memory.lift.readmit": (None, _BY_TRIALS),
}
"""Dotted key -> the value that did nothing (None: no value did anything by itself), and what there is in its place."""


def without_gone(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A copy without keys that are gone, and a sentence for each that would have done something."""
    kept = _copy(data)
    faults: list[str] = []
    for key, (idle, instead) in GONE.items():
        *parents, last = key.split(".")
        section: Any = kept
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict) and last in section:
            value = section.pop(last)
            if idle is not None and value != idle:
                faults.append(f"{key} is gone: {instead}; leave it out")
    return kept, faults


def _copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in data.items()}
