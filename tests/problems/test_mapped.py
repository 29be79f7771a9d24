from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import mapped

Write = Callable[..., Path]


def test_the_defaults(write: Write) -> None:
    rows = [{"id": f"p{i}", "prompt": f"q{i}", "answer": i, "kind": "easy", "tests": [i]} for i in range(10)]
    split = mapped.load(write("mine.jsonl", *rows))
    assert (len(split.train), len(split.test)) == (9, 1)
    problem = next(p for p in split.train + split.test if p.id == "p3")
    assert (problem.prompt, problem.answer, problem.kind, problem.system) == ("q3", "3", "easy", "")
    assert problem.data == {"tests": [3]}


def test_named_fields_and_a_system_message(write: Write) -> None:
    row = {"q": "2 + 2", "gold": "4", "topic": "sums", "n": 17, "prompt": "not this"}
    path = write("mine.jsonl", row)
    names: dict[str, Any] = {"prompt": "q", "answer": "gold", "kind": "topic", "id": "n", "system_text": "Be brief."}
    (problem,) = mapped.load(path, test_fraction=0, **names).train
    assert (problem.prompt, problem.answer, problem.kind, problem.id) == ("2 + 2", "4", "sums", "17")
    assert problem.system == "Be brief." and problem.data == {"prompt": "not this"}


def test_without_ids_they_are_made_from_the_file_and_the_row(write: Write) -> None:
    path = write("mine.jsonl", {"prompt": "a", "answer": "1"}, "", {"prompt": "b", "answer": "2"})
    assert [p.id for p in mapped.load(path, test_fraction=0).train] == ["mine/1", "mine/2"]


def test_a_test_file_of_its_own(write: Write) -> None:
    train = write("train.jsonl", {"prompt": "a", "answer": "1"})
    test = write("test.csv", "prompt,answer", "b,2")
    split = mapped.load(train, test_path=test)
    assert [p.id for p in split.train + split.test] == ["train/1", "test/1"]
    split = mapped.load(train, test_path=write("other/train.jsonl", {"prompt": "b", "answer": "2"}))
    assert [p.id for p in split.train + split.test] == ["train/1", "train-test/1"]


def test_problems_without_an_answer(write: Write) -> None:
    (problem,) = mapped.load(write("a.jsonl", {"prompt": "code", "answer": "x"}), answer=None, test_fraction=0).train
    assert problem.answer is None and problem.data == {"answer": "x"}


@pytest.mark.parametrize(
    ("choices", "letters"),
    [
        (["A", "B", "C"], "ABC"),
        (["one", "two"], "AB"),
        ({"text": ["x", "y"], "label": ["A", "B"]}, "AB"),
        ([{"text": "x", "label": "B"}, {"text": "y", "label": "C"}], "BC"),
    ],
)
def test_choices(write: Write, choices: object, letters: str) -> None:
    path = write("a.jsonl", {"prompt": "?", "answer": "b", "choices": choices})
    (problem,) = mapped.load(path, test_fraction=0).train
    assert "".join(problem.data["choices"]) == letters and problem.answer == "B"


def test_choices_can_mean_nothing(write: Write) -> None:
    path = write("a.jsonl", {"prompt": "?", "answer": "one", "choices": ["one", "two"]})
    (problem,) = mapped.load(path, test_fraction=0, choices=None).train
    assert problem.answer == "one" and problem.data == {"choices": ["one", "two"]}


def test_a_hub_dataset(tmp_path: Path, write: Write) -> None:
    write("train.jsonl", *[{"prompt": f"q{i}", "answer": "1"} for i in range(10)])
    write("test.jsonl", {"prompt": "t", "answer": "1"})
    both = mapped.load_from_hub(str(tmp_path), test_split="test")
    assert (len(both.train), len(both.test)) == (10, 1)
    assert both.train[2].id == f"{tmp_path.name}/train/3"
    one = mapped.load_from_hub(str(tmp_path), split="train", test_fraction=0.2)
    assert (len(one.train), len(one.test)) == (8, 2)
    with pytest.raises(ProblemError, match="cannot be loaded"):
        mapped.load_from_hub(str(tmp_path), test_split="validation")


def row(**changes: object) -> dict[str, Any]:
    base = {"id": "new", "prompt": "?", "answer": "1"}
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


BAD = {
    "a list instead of a JSON object": [],
    "an integer instead of a JSON object": "0",
    "true or false instead of a JSON object": "false",
    "no 'prompt' (it has: id, answer)": row(prompt=...),
    "'prompt' is null": row(prompt=None),
    "'prompt' is an integer instead of a string": row(prompt=1),
    "'prompt' is an object instead of a string": row(prompt={"text": "?"}),
    "'prompt' is empty": row(prompt=""),
    "'prompt' holds a character that UTF-8 cannot": row(prompt="\ud800"),
    "no 'answer'": row(answer=...),
    "'answer' is null": row(answer=None),
    "'answer' is empty": row(answer=" "),
    "'answer' is a decimal number instead of a string": row(answer=0.5),
    "'answer' is true or false instead of a string": row(answer=True),
    "'answer' is a list instead of a string": row(answer=["1"]),
    "no 'id', though other rows have one": row(id=...),
    "'id' is a decimal number instead of an integer or a string": row(id=1.5),
    "'id' is a list instead": row(id=["new"]),
    "the id 'old' was already taken by": row(id="old"),
    "'system' is a list instead of a string": row(system=["Be brief."]),
    "'kind' is a decimal number instead of a string": row(kind=3.5),
    "'choices' is a string instead of a list": row(choices="AB"),
    "'choices' has 1 options instead of 2 to 10": row(choices=["A"]),
    "'choices' has 11 options instead of 2 to 10": row(choices=list("ABCDEFGHIJK")),
    "'choices' has an option that is not text": row(choices=["A", 2]),
    "'choices' has a letter twice: A, A": row(choices=["A", "A"]),
    "'answer' is '1' instead of the letter of an option": row(choices=["1", "2"]),
    "'answer' is 'C', but the options are A, B": row(choices=["x", "y"], answer="C"),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_row_that_does_not_fit_is_named_with_its_reason(write: Write, reason: str) -> None:
    path = write("a.jsonl", row(id="old"), "", BAD[reason], row(id="other"))
    with pytest.raises(ProblemError) as caught:
        mapped.load(path)
    assert f"1 of 3 rows of {path} cannot be used:\n    {path}:3: {reason}" in caught.value.message
    assert "problems.max_bad_fraction=0.34" in caught.value.hint
    split = mapped.load(path, max_bad_fraction=0.34, test_fraction=0)
    assert [p.id for p in split.train] == ["old", "other"] and reason in split.skipped[0]


def test_a_field_that_no_row_has(write: Write) -> None:
    path = write("a.jsonl", {"question": "?", "answer": "1"})
    with pytest.raises(ProblemError, match=r"has a field 'qestion' \(given as the prompt\)") as caught:
        mapped.load(path, prompt="qestion")
    assert caught.value.hint == "Did you mean question?"
    with pytest.raises(ProblemError, match="No field can be named for 'promt'") as caught:
        mapped.load(path, promt="question")
    assert "prompt" in caught.value.hint
    with pytest.raises(ProblemError) as caught:
        mapped.load(path)
    assert "The first row has: question, answer." in caught.value.hint


def test_all_rows_bad_is_an_error_whatever_is_allowed(write: Write) -> None:
    with pytest.raises(ProblemError, match="1 of 1 rows"):
        mapped.load(write("a.jsonl", {"prompt": "?"}), max_bad_fraction=0.99)
