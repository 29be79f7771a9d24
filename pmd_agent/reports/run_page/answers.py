"""Answers to the test problems: before the first step, after the last one, and with memory in the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmd_agent.runs.read_lines import read_lines
from pmd_agent.text import cut, readable

SHOWN = ("base", "final", "final_with_memory")
ALL_CHARACTERS = 12_000_000
LEAST, MOST = 200, 3_000
"""Characters of an answer."""


def answers_of(path: Path) -> list[dict[str, Any]]:
    """A test problem each, with [correct, checked, answers] under each name that was measured."""
    files = {name: path / "evaluation" / f"{name}.jsonl" for name in SHOWN}
    rows = {name: list(read_lines(file)) for name, file in files.items()}
    count = sum(len(row.get("answers", ())) for found in rows.values() for row in found)
    limit = max(LEAST, min(MOST, ALL_CHARACTERS // max(1, count)))
    found: dict[str, dict[str, Any]] = {}
    for name, lines in rows.items():
        for row in lines:
            problem = readable(row["problem"])
            entry = found.setdefault(problem, {"problem": problem, "kind": readable(row["kind"])})
            entry[name] = [row["correct"], row["checked"], [_answer(a, limit) for a in row.get("answers", ())]]
    return list(found.values())


def _answer(answer: Mapping[str, Any], limit: int) -> list[Any]:
    """[text, right, what was parsed]"""
    parsed, right = answer.get("answer"), answer.get("correct")
    return [
        cut(readable(answer["text"]), limit),
        None if right is None else int(right),
        None if parsed is None else cut(readable(str(parsed)), 200),
    ]
