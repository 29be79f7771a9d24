from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import humaneval

Write = Callable[..., Path]


def row(number: int = 0, **changes: object) -> dict[str, Any]:
    made = {
        "task_id": f"HumanEval/{number}",
        "prompt": 'def add(a, b):\n    """The sum."""\n',
        "entry_point": "add",
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not ...}


def test_a_file(write: Write) -> None:
    split = humaneval.load(write("a.jsonl", *map(row, range(10))))
    assert (len(split.train), len(split.test)) == (5, 5)
    assert {p.id for p in split.train + split.test} == {f"humaneval/{i}" for i in range(10)}
    problem = split.train[0]
    assert '"""The sum."""' in problem.prompt and "```python" in problem.system
    assert "return a + b" not in problem.prompt and "assert" not in problem.prompt
    assert dict(problem.data) == {"prompt": row()["prompt"], "check": row()["test"], "entry": "add"}


def test_the_split_is_the_seeds(write: Write) -> None:
    path = write("a.jsonl", *map(row, range(20)))
    assert humaneval.load(path) == humaneval.load(path)
    assert {p.id for p in humaneval.load(path, seed=1).test} != {p.id for p in humaneval.load(path).test}


def test_a_folder_of_the_hubs_shape(tmp_path: Path, write: Write) -> None:
    write("hub/test.jsonl", *map(row, range(4)))
    assert len(humaneval.load(None, hub=str(tmp_path / "hub")).train) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": ...}, "no 'prompt'"),
        ({"prompt": "def add("}, "'prompt' is not Python"),
        ({"entry_point": "sub"}, "'prompt' defines no function 'sub'"),
        ({"test": "assert 1"}, "'test' defines no function 'check'"),
        ({"test": "\x00"}, "'test' is not Python"),
        ({"task_id": None}, "'task_id' is null"),
    ],
)
def test_a_row_that_does_not_fit_says_why(write: Write, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProblemError) as caught:
        humaneval.load(write("a.jsonl", row(1), row(2), row(3, **changes)))
    assert f"a.jsonl:3: {reason}" in caught.value.message


def test_the_real_rows() -> None:
    data = os.environ.get("PMD_TEST_DATA")
    path = Path(data or "", "humaneval/HumanEval.jsonl")
    if not data or not path.is_file():
        pytest.skip("PMD_TEST_DATA names no folder with humaneval/HumanEval.jsonl")
    split = humaneval.load(path)
    assert (len(split.train), len(split.test)) == (82, 82)
    with path.open() as lines:
        solutions = {json.loads(line)["canonical_solution"].strip() for line in lines}
    assert not any(solution in p.prompt for p in split.train + split.test for solution in solutions)
