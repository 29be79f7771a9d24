"""The real HumanEval: every canonical solution passes, and changed ones fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pmd_agent.types import Problem
from pmd_agent.verifiers import verify_all
from pmd_agent.verifiers.code import CodeVerifier

from .mutants import mutants

QUICK = (0, 32, 38, 50, 53, 99, 120, 160)
"""A sample, with those whose tests use helpers of the prompt."""
TRIED = 6
"""Mutants of one problem, at most: one that no test tells from the solution may be equivalent to it."""


@cache
def rows() -> list[dict[str, str]]:
    path = Path(os.environ.get("PMD_TEST_DATA") or "", "humaneval/HumanEval.jsonl")
    if not os.environ.get("PMD_TEST_DATA") or not path.is_file():
        pytest.skip("PMD_TEST_DATA names no folder with humaneval/HumanEval.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def problem(row: dict[str, str]) -> Problem:
    return Problem(
        row["task_id"], "?", data={"prompt": row["prompt"], "check": row["test"], "entry": row["entry_point"]}
    )


def solution(row: dict[str, str]) -> str:
    return row["prompt"] + row["canonical_solution"]


def passed(verifier: CodeVerifier, pairs: list[tuple[dict[str, str], str]]) -> list[bool | None]:
    texts = [[f"```python\n{program}\n```"] for _, program in pairs]
    verified = verify_all(verifier, [problem(row) for row, _ in pairs], texts)
    assert verified.unchecked == 0, verified.first_reason
    return [verdict.correct for (verdict,) in verified.verdicts_PG]


def survivors(verifier: CodeVerifier, chosen: list[dict[str, str]]) -> tuple[list[str], int]:
    """Problems of which no mutant fails, and of how many the first mutant does."""
    waiting = [(row, mutants(solution(row), row["entry_point"], row["task_id"])) for row in chosen]
    first = 0
    for attempt in range(TRIED):
        tried = [(row, more, found) for row, more in waiting if (found := next(more, None))]
        outcome = passed(verifier, [(row, found[1]) for row, _, found in tried])
        if attempt == 0:
            first = sum(not o for o in outcome)
        waiting = [(row, more) for (row, more, _), ok in zip(tried, outcome, strict=True) if ok]
    return [row["task_id"] for row, _ in waiting], first


def test_a_sample_of_solutions_pass_and_of_mutants_fail(verifier: CodeVerifier) -> None:
    chosen = [rows()[i] for i in QUICK]
    assert all(passed(verifier, [(row, solution(row)) for row in chosen]))
    assert survivors(verifier, chosen)[0] == []


@pytest.mark.slow
def test_all_solutions_pass(verifier: CodeVerifier) -> None:
    outcome = passed(verifier, [(row, solution(row)) for row in rows()])
    assert [row["task_id"] for row, ok in zip(rows(), outcome, strict=True) if not ok] == []


@pytest.mark.slow
def test_a_mutant_of_each_fails(verifier: CodeVerifier, record_property: Callable[[str, object], None]) -> None:
    left, first = survivors(verifier, rows())
    print(f"first mutants that fail: {first} of {len(rows())}")
    record_property("first_mutants_that_fail", first)
    assert left == [] and first >= 130
