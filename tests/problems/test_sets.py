"""From a recipe's section `problems` to what is trained on, validated on and tested on."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from pmd_agent.problems import ProblemSets, load_problems
from pmd_agent.problems.sets import _EVERYWHERE, SOURCES
from pmd_agent.recipe import load_recipe, parse_recipe
from pmd_agent.recipe.problems import Problems

RECIPES = Path(__file__).parents[2] / "recipes"
SECTIONS = get_args(get_args(Problems)[0])
Write = Callable[..., Path]


def problems_of(recipe: str, path: Path, *overrides: str) -> ProblemSets:
    return load_problems(load_recipe(RECIPES / recipe, [f"problems.path={path}", *overrides]).problems)


def section(**keys: Any) -> Problems:
    return parse_recipe({"problems": keys}).problems


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.model_fields["type"].default)
def test_every_key_of_a_source_reaches_what_loads_it(model: Any) -> None:
    loader = SOURCES[model.model_fields["type"].default]
    keys = {name: None for name in model.model_fields if name not in _EVERYWHERE}
    bound = inspect.signature(loader).bind(**keys)
    assert "names" not in bound.kwargs or not set(bound.kwargs["names"]) - set(keys)


def test_every_source_has_a_section() -> None:
    assert sorted(model.model_fields["type"].default for model in SECTIONS) == sorted(SOURCES)


def test_validation_is_taken_from_the_training_part_only(write: Write) -> None:
    path = write("a.jsonl", *[{"id": i, "prompt": f"q{i}", "answer": "1", "kind": f"k{i % 2}"} for i in range(100)])
    sets = load_problems(section(type="file", path=str(path), validation_fraction=0.2, test_fraction=0.1))
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (72, 18, 10)
    assert len({p.id for p in sets.train + sets.validation + sets.test}) == 100
    assert load_problems(section(type="file", path=str(path), validation_fraction=0.0)).validation == ()


def test_the_world_brings_its_own_validation() -> None:
    sets = load_problems(section(type="world", train=5, validation=3, test=4))
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (5, 6, 8)


def test_nothing_of_a_test_that_is_not_trained_on_may_be_quoted(write: Write) -> None:
    tests = [{"input": "1", "output": "2"}]
    path = write("a.jsonl", *[{"prompt": f"q{i}", "tests": tests, "answer": "-"} for i in range(10)])
    keys = {"type": "file", "path": str(path), "test_fraction": 0.2, "validation_fraction": 0.2, "verifier": "code"}
    sets = load_problems(section(**keys))
    assert all(list(p.data["tests"]) == tests for p in sets.train)
    assert [t for p in sets.validation + sets.test for t in p.data["tests"]] == [{**tests[0], "hidden": True}] * 4
    path = write("humaneval.jsonl", *map(humaneval_row, range(20)))
    sets = problems_of("humaneval.yaml", path)
    assert not any("hidden" in p.data for p in sets.train)
    assert all(p.data["hidden"] is True for p in sets.validation + sets.test)


def humaneval_row(number: int) -> dict[str, str]:
    row = {"prompt": "def f():\n    '''.'''\n", "entry_point": "f", "test": "def check(candidate): pass"}
    return {"task_id": f"HumanEval/{number}", **row}


def livecodebench_row(number: int, day: str) -> dict[str, str]:
    tests = [{"input": str(i), "output": str(i), "testtype": "stdin"} for i in range(4)]
    return {
        "question_id": f"q{number}", "question_content": "Echo.", "platform": "atcoder", "difficulty": "easy", "contest_date": day,
        "starter_code": "", "public_test_cases": json.dumps(tests), "private_test_cases": "[]", "metadata": "{}",
    }  # fmt: skip


def test_livecodebench_is_validated_on_the_problems_that_it_trains_on(tmp_path: Path) -> None:
    path = tmp_path / "test6.jsonl"
    days = ["2025-01-31T10:00:00", *["2025-03-01T10:00:00"] * 8]
    path.write_text("".join(json.dumps(livecodebench_row(i, day)) + "\n" for i, day in enumerate(days)))
    sets = problems_of("livecodebench.yaml", path)
    assert [p.id for p in sets.train] == [p.id for p in sets.test] == [f"livecodebench/q{i}" for i in range(1, 9)]
    assert len(sets.validation) == 2 and all(p in sets.test for p in sets.validation)
    assert all(len(p.data["tests"]) == 4 for p in sets.validation + sets.test)
    assert all(len(p.data["tests"]) == 2 for p in sets.train)


def test_humaneval_is_split_three_ways(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(humaneval_row(i)) + "\n" for i in range(40)))
    sets = problems_of("humaneval.yaml", path)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (18, 2, 20)
    assert len({p.id for p in sets.train + sets.validation + sets.test}) == 40
