from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import mbpp

Write = Callable[..., Path]


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    made = {
        "task_id": number,
        "text": "Write a function to add two numbers.",
        "code": "def helper(a):\n    return a\n\ndef add(a, b):\n    return helper(a) + b\n",
        "test_list": ["assert add(1, 2) == 3", "assert add(5, 5) == 10", "assert add('a', 'b') == 'ab'"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not ...}


def test_the_hubs_schemas(tmp_path: Path, write: Write) -> None:
    """Through the real library; `sanitized` has other fields."""
    write("set/train.jsonl", *map(row, range(3)))
    write("set/test.jsonl", row(9))
    split = mbpp.load(None, hub=str(tmp_path / "set"), subset=None)
    assert [p.id for p in split.train] == ["mbpp/0", "mbpp/1", "mbpp/2"] and split.test[0].id == "mbpp/9"
    problem = split.train[0]
    assert (
        "assert add(1, 2) == 3" in problem.prompt
        and "add(5, 5)" not in problem.prompt
        and "helper" not in problem.prompt
    )
    assert problem.data["entry"] == "add" and "add(5, 5)" in problem.data["check"]
    sanitized = row(
        text=..., prompt="Add.", test_setup_code=..., challenge_test_list=..., test_imports=["import math"], task_id="7"
    )
    problem = mbpp.load(write("a.jsonl", sanitized), test_fraction=0).train[0]
    assert (
        problem.id == "mbpp/7"
        and problem.prompt.startswith("Add.")
        and problem.data["check"].strip().startswith("import math")
    )


def test_more_asserts_may_be_shown(write: Write) -> None:
    (problem,) = mbpp.load(write("a.jsonl", row()), test_fraction=0, shown=3).train
    assert problem.prompt.count("assert add") == 3


def test_a_text_over_several_lines_stays_as_it_is(write: Write) -> None:
    test = 'assert add("""a\nb""", "c") == \\\n    "a\\nbc"'
    (problem,) = mbpp.load(write("a.jsonl", row(test_list=[test])), test_fraction=0).train
    module: dict[str, Any] = {"add": lambda a, b: a + b}
    exec(problem.data["check"], module)
    module["check"](None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": ...}, "no 'prompt'"),
        ({"text": " "}, "'text' is empty"),
        ({"task_id": ...}, "no 'task_id'"),
        ({"task_id": 1.5}, "'task_id' is a decimal number instead of a string"),
        ({"code": ...}, "no 'code'"),
        ({"code": "def add("}, "'code' is not Python"),
        ({"test_list": ...}, "no 'test_list'"),
        ({"test_list": []}, "'test_list' is empty"),
        ({"test_list": "assert add(1, 2) == 3"}, "'test_list' is a string instead of a list"),
        ({"test_list": [3]}, "'test_list' holds an integer"),
        ({"test_list": [""]}, "'test_list' holds an empty text"),
        ({"test_list": ["assert add(1"]}, "'test 1' is not Python"),
        ({"test_list": ["assert add(1, 2) == 3", "add(1, 2)"]}, "test 2 is no assert"),
        ({"test_list": ["assert sub(1, 2) == 3"]}, "its tests call nothing that 'code' defines"),
        ({"test_setup_code": "x = ("}, "'test_setup_code' is not Python"),
        ({"test_list": ["assert add(helper(1), 2) == 3"]}, "its tests use add and helper of the solution"),
        ({"test_setup_code": "one = helper(1)"}, "its tests use helper and add of the solution"),
    ],
)
def test_a_row_that_does_not_fit_says_why(write: Write, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProblemError) as caught:
        mbpp.load(write("a.jsonl", row(1), row(2), row(3, **changes)))
    assert f"a.jsonl:3: {reason}" in caught.value.message
