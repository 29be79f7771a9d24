"""Attempts that were sampled ahead, as a file of a checkpoint: a resumed run goes on with the very same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pmd_agent.runs.files import to_lines, write_atomically
from pmd_agent.runs.read_lines import read_lines
from pmd_agent.types import Rollout, Turn, Verdict

FILE = "ahead.jsonl"


def write_ahead(ahead: Mapping[int, Sequence[Sequence[Rollout]]], folder: Path) -> None:
    """A line for each attempt, with its step and the place of its group. Nothing where there are none."""
    rows = [
        {"step": step, "group": p, "rollout": asdict(rollout)}
        for step, rollouts_PG in ahead.items()
        for p, group in enumerate(rollouts_PG)
        for rollout in group
    ]
    if rows:
        write_atomically(folder / FILE, to_lines(rows))


def read_ahead(folder: Path) -> dict[int, list[list[Rollout]]]:
    """What `write_ahead` wrote, equal in every number. Raises RunError where it is damaged."""
    ahead: dict[int, list[list[Rollout]]] = {}
    if (folder / FILE).is_file():
        for row in read_lines(folder / FILE):
            groups = ahead.setdefault(row["step"], [])
            groups += [[] for _ in range(row["group"] + 1 - len(groups))]
            groups[row["group"]].append(_rollout(row["rollout"]))
    return ahead


def _rollout(row: Mapping[str, Any]) -> Rollout:
    values: dict[str, Any] = {
        f.name: tuple(row[f.name]) if isinstance(row[f.name], list) else row[f.name] for f in fields(Rollout)
    }
    values["turns"] = tuple(Turn(**turn) for turn in row["turns"])
    values["outcome"] = None if row["outcome"] is None else Verdict(**row["outcome"])
    return Rollout(**values)
