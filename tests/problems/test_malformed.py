"""A hundred and more rows that do not fit, in one file: each is named by its line, with its field and its own reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.problems import load_problems
from pmd_agent.problems.parse_rows import Misfits
from pmd_agent.recipe import parse_recipe

Write = Callable[..., Path]
RECIPE = {
    "type": "file", "prompt": "question.text", "answer": "gold", "id": "n", "kind": "topic", "system": "role",
    "split_field": "part", "where": {"year": {"min": 2000}},
}  # fmt: skip
DROP = object()
TYPES: dict[str, Any] = {
    "an object": {"a": 1}, "a list": ["a"], "true or false": True, "a decimal number": 1.5, "an integer": 7,
}  # fmt: skip


def row(number: int, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "n": f"r{number}", "question": {"text": f"What is {number}?"}, "gold": "A", "topic": "t", "role": "Be brief.",
        "choices": ["one", "two", "three"], "part": "train", "year": 2020,
    }  # fmt: skip
    return {name: value for name, value in (made | changes).items() if value is not DROP}


def malformed() -> Iterator[tuple[Any, str]]:
    """(what to write, what must be said of it)"""
    for text, says in [
        ("3", "an integer"), ("2.5", "a decimal number"), ("true", "true or false"), ("null", "null"), ("[]", "a list"),
        ('"text"', "a string"), ('[{"n": 1}]', "a list"),
    ]:  # fmt: skip
        yield text, f"{says} instead of a JSON object"
    for name, field in (("question", "question.text"), ("gold", "gold")):

        def put(value: Any, name: str = name) -> dict[str, Any]:
            return {name: {"text": value} if name == "question" and value is not DROP else value}

        yield put(DROP), f"no '{field}' (it has: "
        yield put(None), f"'{field}' is null"
        yield put(""), f"'{field}' is empty"
        yield put(" \n\t"), f"'{field}' is empty"
        yield put("half \ud83d"), f"'{field}' holds a character that UTF-8 cannot"
        for says, value in TYPES.items():
            if (field, says) != ("gold", "an integer"):
                yield put(value), f"'{field}' is {says} instead of a string"
    yield {"question": "What?"}, "no 'question.text'"
    yield {"question": ["What?"]}, "no 'question.text'"
    yield {"question": {"txt": "What?"}}, "no 'question.text'"
    for value in (DROP, None, ""):
        yield {"n": value}, "no 'n', though other rows have one"
    for says, value in TYPES.items():
        if says != "an integer":
            yield {"n": value}, f"'n' is {says} instead of an integer or a string"
    yield {"n": "\udcff"}, "'n' holds a character that UTF-8 cannot"
    for number in range(5):
        yield {"n": f"good{number}"}, f"the id 'good{number}' was already taken by "
    for field in ("topic", "role"):
        yield {field: "\ud83d"}, f"'{field}' holds a character that UTF-8 cannot"
        for says, value in TYPES.items():
            if (field, says) != ("topic", "an integer"):
                yield {field: value}, f"'{field}' is {says} instead of a string"
    for value in ("soon", "MMXX", "2020-01-01", "12 000", "", " ", "two"):
        yield {"year": value}, f"'year' is {value!r} instead of a number, which problems.where bounds"
    for says, value in (("an object", {}), ("a list", [2020]), ("null", None), ("true or false", True)):
        yield {"year": value}, f"'year' is {says} instead of a number, which problems.where bounds"
    for value in ("trial", "training set", "", None, 3, ["train"], "tset", "none"):
        yield {"part": value}, f"'part', which says the split, is {value!r}: not train, validation or test"
    yield {"part": DROP}, "'part', which says the split, is missing"
    for says, value in (("a string", "ABC"), ("an integer", 4), ("a decimal number", 0.5), ("true or false", False)):
        yield {"choices": value}, f"'choices' is {says} instead of a list"
    for count in (0, 1, 11, 12, 30):
        yield {"choices": [f"option {i}" for i in range(count)]}, f"'choices' has {count} options instead of 2 to 10"
    for bad in (1, None, "", "  ", ["x"], True):
        yield {"choices": ["one", bad]}, "'choices' has an option that is not text"
    for letters in ("AA", "ABB", "ABCA"):
        yield {"choices": list(letters)}, f"'choices' has a letter twice: {', '.join(letters)}"
    yield {"choices": {"text": ["x", "y"]}}, "'choices' has no list 'text' or no list 'label'"
    yield {"choices": {"label": ["A", "B"]}}, "'choices' has no list 'text' or no list 'label'"
    yield {"choices": {"text": "xy", "label": "AB"}}, "'choices' has no list 'text' or no list 'label'"
    yield {"choices": {"text": ["x"], "label": ["A", "B"]}}, "'choices' has 1 texts and 2 labels"
    yield {"choices": {"text": ["x"], "label": ["A"]}}, "'choices' has 1 option: nothing to choose from"
    yield {"choices": {"text": ["x", "y"], "label": ["A", "A"]}}, "two options have the same label: A, A"
    yield {"choices": {"text": ["x", "y"], "label": ["1", "2"]}}, "the label '1' of an option is not a letter"
    yield {"choices": {"text": ["x", ""], "label": ["A", "B"]}}, "the text of option B is empty"
    yield {"choices": {"text": ["x", 3], "label": ["A", "B"]}}, "the text of option B is an integer"
    for gold in ("one", "AB", "1", "?", "Answer: A", "\u0410"):
        yield {"gold": gold}, f"'gold' is {gold!r} instead of the letter of an option"
    for gold in ("D", "J", "e"):
        yield {"gold": gold}, f"'gold' is {gold.upper()!r}, but the options are A, B, C"


CASES = list(malformed())


def test_each_of_a_hundred_and_more_gives_its_own_reason(write: Write) -> None:
    assert len(CASES) >= 100
    good = [row(0, n=f"good{i}", part=("train", "test")[i % 2]) for i in range(10)]
    bad = [what if isinstance(what, str) else row(100 + i, **what) for i, (what, _) in enumerate(CASES)]
    path = write("rows.jsonl", *good, *bad)
    recipe = RECIPE | {"path": str(path)}
    with pytest.raises(Misfits, match=f"{len(CASES)} of {len(CASES) + 10} rows") as caught:
        load_problems(parse_recipe({"problems": recipe}).problems)
    assert len(caught.value.reasons) == len(CASES)
    for number, (reason, (_, says)) in enumerate(zip(caught.value.reasons, CASES, strict=True), start=11):
        assert reason.startswith(f"{path}:{number}: {says}"), f"{reason!r} does not say {says!r}"
        assert len(reason) < 300
    sets = load_problems(parse_recipe({"problems": recipe | {"max_bad_fraction": 0.99}}).problems)
    assert sets.skipped == caught.value.reasons and len(sets.train) + len(sets.validation) + len(sets.test) == 10


def test_the_bound_is_a_share(write: Write) -> None:
    rows = [json.dumps({"prompt": f"q{i}", "answer": "1"}) for i in range(98)]
    path = write("rows.jsonl", *rows, "{}", "{}")
    recipe = {"type": "file", "path": str(path)}
    assert len(load_problems(parse_recipe({"problems": recipe | {"max_bad_fraction": 0.02}}).problems).skipped) == 2
    with pytest.raises(Misfits) as caught:
        load_problems(parse_recipe({"problems": recipe | {"max_bad_fraction": 0.01}}).problems)
    assert "problems.max_bad_fraction=0.02" in caught.value.hint
