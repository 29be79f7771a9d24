"""Public rows: what a data set gives as the solution is right, for each of its problems that can be asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.problems import ProblemSets, load_problems
from pmd_agent.recipe import parse_recipe
from pmd_agent.verifiers import verify_all
from pmd_agent.verifiers.code import CodeVerifier, Limits

# Solutions of these sets have backslashes that Python warns of.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "SyntaxWarning")]

SETS = {
    "mbpp/mbpp.jsonl": ("mbpp", 974, {367, 601, 927}),
    "mbpp/sanitized-mbpp.json": ("mbpp", 427, set()),
    "humaneval/HumanEval.jsonl": ("humaneval", 164, set()),
}
"""File: the kind of problems, how many rows, and which cannot be asked: their tests make objects of a class that the solution
brings, of which the problem says nothing."""
QUICK = {
    "mbpp/56",
    "mbpp/349",
    "mbpp/533",
    "mbpp/737",
    "mbpp/787",
    "mbpp/794",
    "mbpp/11",
    "humaneval/32",
    "humaneval/38",
}
"""Functions that are called `check`, types as arguments, results that are no plain values, helpers of a prompt, and any others."""


@cache
def rows(name: str) -> list[dict[str, Any]]:
    path = Path(os.environ.get("PMD_TEST_DATA") or "", name)
    if not os.environ.get("PMD_TEST_DATA") or not path.is_file():
        pytest.skip(f"PMD_TEST_DATA names no folder with {name}")
    text = path.read_text()
    found: list[dict[str, Any]] = json.loads(text) if path.suffix == ".json" else [*map(json.loads, text.splitlines())]
    return found


def sets_of(name: str) -> ProblemSets:
    path = Path(os.environ["PMD_TEST_DATA"], name)
    keys = {"test_split": None} if SETS[name][0] == "mbpp" else {}
    return load_problems(parse_recipe({"problems": {"type": SETS[name][0], "path": str(path), **keys}}).problems)


def solutions(name: str) -> dict[str, str]:
    if SETS[name][0] == "mbpp":
        return {f"mbpp/{row['task_id']}": row["code"] for row in rows(name)}
    return {
        f"humaneval/{row['task_id'].split('/')[1]}": row["prompt"] + row["canonical_solution"] for row in rows(name)
    }


def not_right(verifier: CodeVerifier, name: str, wanted: Callable[[str], bool]) -> tuple[set[str], dict[str, str]]:
    """The problems that were asked, and what is said of those whose solution is not right."""
    known, sets = solutions(name), sets_of(name)
    problems = [p for part in (sets.train, sets.validation, sets.test) for p in part if wanted(p.id)]
    verified = verify_all(verifier, problems, [[f"```python\n{known[p.id]}\n```"] for p in problems])
    verdicts = [verdict for (verdict,) in verified.verdicts_PG]
    told = {p.id: v.feedback or "not checked" for p, v in zip(problems, verdicts, strict=True) if v.correct is not True}
    return {p.id for p in problems}, told


@pytest.mark.parametrize("name", SETS)
def test_a_sample_is_right(verifier: CodeVerifier, name: str) -> None:
    rows(name)
    asked, told = not_right(verifier, name, QUICK.__contains__)
    assert asked and told == {}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SETS)
def test_all_are_right(on: dict[str, bool], name: str) -> None:
    # mbpp/123's own solution takes more than six seconds of processor time.
    made = CodeVerifier(limits=Limits(seconds=40.0, wall=50.0), total_seconds=55.0)
    try:
        asked, told = not_right(made, name, lambda _: True)
    finally:
        made.close()
    kind, count, unusable = SETS[name]
    assert len(rows(name)) == count
    assert {f"{kind}/{n}" for n in range(1000)} & set(solutions(name)) - asked == {f"{kind}/{n}" for n in unusable}
    assert told == {}
