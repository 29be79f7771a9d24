"""The real HumanEval: every canonical solution passes, and changed ones fail."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.types import Problem
from pmd_agent.verifiers import verify_all
from pmd_agent.verifiers.code import CodeVerifier

from .mutants import mutants
from .survivors import SURVIVORS, Equivalent, Told

QUICK = (0, 32, 38, 50, 53, 99, 120, 160)
"""A sample, with those whose tests use helpers of the prompt."""
TRIED = 6
"""Mutants of one problem, at most."""


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


def survivors(verifier: CodeVerifier, chosen: list[dict[str, str]]) -> list[str]:
    """Problems of which none of the first mutants fails."""
    waiting = [(row, mutants(solution(row), row["entry_point"], row["task_id"])) for row in chosen]
    for _ in range(TRIED):
        tried = [(row, more, found) for row, more in waiting if (found := next(more, None))]
        outcome = passed(verifier, [(row, found[1]) for row, _, found in tried])
        waiting = [(row, more) for (row, more, _), ok in zip(tried, outcome, strict=True) if ok]
    return [row["task_id"] for row, _ in waiting]


def test_a_sample_of_solutions_pass_and_of_mutants_fail(verifier: CodeVerifier) -> None:
    chosen = [rows()[i] for i in QUICK]
    assert all(passed(verifier, [(row, solution(row)) for row in chosen]))
    assert survivors(verifier, chosen) == []


@pytest.mark.slow
def test_all_solutions_pass(verifier: CodeVerifier) -> None:
    outcome = passed(verifier, [(row, solution(row)) for row in rows()])
    assert [row["task_id"] for row, ok in zip(rows(), outcome, strict=True) if not ok] == []


def first_mutants(chosen: list[dict[str, str]]) -> list[tuple[dict[str, str], str]]:
    return [(row, next(mutants(solution(row), row["entry_point"], row["task_id"]))[1]) for row in chosen]


def with_one_more_assert(row: dict[str, str], told: Told) -> dict[str, str]:
    more = f"assert candidate(*{told.arguments!r}) == {told.right!r}"
    return row | {"test": f"{row['test']}\n_given = check\ndef check(candidate):\n    _given(candidate)\n    {more}\n"}


def test_mutants_that_the_tests_let_pass_fail_with_one_more_assert_or_are_equivalent(verifier: CodeVerifier) -> None:
    survived = first_mutants([row for row in rows() if row["task_id"] in SURVIVORS])
    assert len(survived) == len(SURVIVORS) and all(passed(verifier, survived)), "HumanEval's own tests"
    told = {name: found for name, found in SURVIVORS.items() if isinstance(found, Told)}
    stricter = [
        (with_one_more_assert(row, told[row["task_id"]]), code) for row, code in survived if row["task_id"] in told
    ]
    assert not any(passed(verifier, stricter))
    assert all(passed(verifier, [(row, solution(row)) for row, _ in stricter])), "the solutions still pass"


@pytest.mark.parametrize("name", [name for name, found in SURVIVORS.items() if isinstance(found, Equivalent)])
def test_an_equivalent_mutant_agrees_on_all_small_inputs(name: str) -> None:
    found = SURVIVORS[name]
    assert isinstance(found, Equivalent) and found.why
    (row,) = [row for row in rows() if row["task_id"] == name]
    functions = []
    for code in (solution(row), first_mutants([row])[0][1]):
        module: dict[str, Any] = {}
        exec(code, module)  # the data set's own solution, and one constant or operator of it changed
        functions.append(module[row["entry_point"]])
    one, other = functions
    tried = 0
    for arguments in found.inputs():
        assert one(*arguments) == other(*arguments), arguments
        tried += 1
    assert tried > 1000


@pytest.mark.slow
def test_all_other_first_mutants_fail(verifier: CodeVerifier) -> None:
    outcome = passed(verifier, first_mutants(rows()))
    assert len(outcome) == 164
    assert {row["task_id"] for row, ok in zip(rows(), outcome, strict=True) if ok} == set(SURVIVORS)


@pytest.mark.slow
def test_of_every_problem_a_mutant_fails(verifier: CodeVerifier) -> None:
    assert survivors(verifier, rows()) == []
