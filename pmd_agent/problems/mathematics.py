r"""Questions with a mathematical answer, in one of two schemas; a row's fields tell which.

GSM8K   question, answer: reasoning, and behind `####` the number; of commas only those between groups of three digits go
MATH    problem, solution: the answer is in its last \boxed{}; or `answer`, where there is one; type or subject, level

Two rows of MATH have an empty box: nobody knows their answer. Such rows are left out and named, and are no error while they are
few.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pmd_agent.problems.instructions import MATH
from pmd_agent.problems.parse_rows import BadRow, NoAnswer, optional_text_of, text_of
from pmd_agent.problems.row_filters import Where
from pmd_agent.problems.split import Split
from pmd_agent.problems.train_test import Build, RowSet, Rule, open_row_sets, train_and_test
from pmd_agent.text import last_boxed, without_group_commas
from pmd_agent.types import Problem

HUB = "openai/gsm8k"


def load(
    path: Path | None,
    *,
    test_path: Path | None = None,
    hub: str = HUB,
    subset: str | None = "main",
    split: str = "train",
    test_split: str | None = "test",
    kind: Literal["subject", "level"] = "subject",
    where: Where | None = None,
    test_fraction: float = 0.1,
    seed: int = 0,
    max_bad_fraction: float = 0.0,
) -> Split:
    """The problems of a file or folder, or of a dataset on the hub (see `open_row_sets`). Raises ProblemError."""
    source, row_sets = open_row_sets(
        path, test_path=test_path, hub=hub, subset=subset, split=split, test_split=test_split
    )  # fmt: skip
    rule = Rule(where or {}, None, test_fraction, seed, max_bad_fraction)
    return train_and_test(source, row_sets, partial(_build, kind), rule)


def _build(kind: str, row_set: RowSet) -> Build:
    return partial(_problem, split=row_set.name.rpartition("/")[2], kind=kind)


def _problem(row: Mapping[str, Any], number: int, *, split: str, kind: str) -> Problem:
    if "question" in row:
        return Problem(f"gsm8k/{split}/{number}", text_of(row, "question"), _behind_marks(row), MATH)
    if "problem" not in row:
        present = ", ".join(map(str, row)) or "nothing"
        raise BadRow(f"neither 'question' (as in GSM8K) nor 'problem' (as in MATH); it has: {present}")
    name = optional_text_of(row, "unique_id") or f"{split}/{number}"
    label = "level" if kind == "level" else "subject" if "subject" in row else "type"
    value = row.get(label)
    return Problem(
        id=f"math/{name}",
        prompt=text_of(row, "problem"),
        answer=_final(row),
        system=MATH,
        kind=str(value) if isinstance(value, int) else optional_text_of(row, label),
    )


def _behind_marks(row: Mapping[str, Any]) -> str:
    text = text_of(row, "answer")
    _, marks, answer = text.rpartition("####")
    if not marks:
        raise BadRow("'answer' has no '####' with the number behind it")
    if not answer.strip():
        raise BadRow("'answer' has nothing behind its '####'")
    answer = answer.strip()
    return answer if answer.startswith(("(", "[", "{")) else without_group_commas(answer)


def _final(row: Mapping[str, Any]) -> str:
    if row.get("answer") is not None:
        return text_of(row, "answer")
    answer = last_boxed(text_of(row, "solution"))
    if answer is None:
        raise BadRow("'solution' has no \\boxed{} with an answer in it")
    if not answer:
        raise NoAnswer("'solution' has an empty \\boxed{}")
    return answer
