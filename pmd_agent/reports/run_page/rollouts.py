"""The rollouts of a step as columns, so that many of them stay small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pmd_agent.reports.run_page.overview import rollouts_file
from pmd_agent.runs.read_lines import read_lines
from pmd_agent.text import cut, readable

ALL_CHARACTERS = 24_000_000
"""Of the texts of all rollouts: of many, each is cut shorter."""
LEAST, MOST = 240, 4_000
"""Characters of a text."""
ALL_TOKENS = 1_000_000
"""Of the rollouts that are shown token by token; beyond them, every second step has none, or every third, ..."""


def characters_each(rollouts: int) -> int:
    """How long a text may be where there are so many."""
    return max(LEAST, min(MOST, ALL_CHARACTERS // max(1, rollouts)))


def rollouts_of(path: Path, step: int, *, characters: int, tokens: bool = True) -> dict[str, Any]:
    """Columns, a value a rollout. What repeats stands in `names`, and is named by its place there.

    `tokens`: rowwise, for those that have them, [text, hundredths of a nat] of each token.
    """
    names: dict[str, int] = {}
    found: dict[str, Any] = {"step": step, "tokens": {}}
    columns: dict[str, list[Any]] = {
        key: []
        for key in ("id", "problem", "text", "length", "cut", "right", "reward", "gain", "answer", "feedback", "read")
    }

    def named(text: str) -> int:
        return names.setdefault(readable(text), len(names))

    for place, row in enumerate(read_lines(rollouts_file(path, step))):
        columns["id"].append(readable(row["id"]))
        columns["problem"].append(named(row["problem"]))
        columns["text"].append(cut(readable(row["text"]), characters))
        columns["length"].append(row["tokens"])
        columns["cut"].append(int(row["finish_reason"] == "length"))
        columns["right"].append(None if row["correct"] is None else int(row["correct"]))
        columns["reward"].append(row["reward"])
        columns["gain"].append(None if row.get("teacher_gain") is None else round(row["teacher_gain"], 3))
        columns["answer"].append(None if row["answer"] is None else cut(readable(str(row["answer"])), 200))
        columns["feedback"].append(named(cut(row["feedback"], characters)) if row["feedback"] else None)
        columns["read"].append([named(memory) for memory in row.get("taught_by", ())])
        if tokens and row.get("token_gains"):
            found["tokens"][place] = [
                [readable(t), None if g is None else round(100 * g)] for t, g in row["token_gains"]
            ]
    return found | columns | {"names": list(names)}


def every_which(steps: int, tokens_a_step: float) -> int:
    """Tokens are shown of every so manieth step."""
    return max(1, -int(-steps * tokens_a_step // ALL_TOKENS))
