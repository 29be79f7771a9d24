from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import custom_rows, load_problems
from pmd_agent.recipe import load_recipe

Write = Callable[..., Path]


def test_the_defaults(write: Write) -> None:
    rows = [{"id": f"p{i}", "prompt": f"q{i}", "answer": i, "kind": "easy", "tests": [i]} for i in range(10)]
    split = custom_rows.load(write("mine.jsonl", *rows))
    assert (len(split.train), len(split.test)) == (9, 1)
    problem = next(p for p in split.train + split.test if p.id == "p3")
    assert (problem.prompt, problem.answer, problem.kind, problem.system) == ("q3", "3", "easy", "")
    assert problem.data == {"tests": [3]}


def test_named_fields_and_a_system_message(write: Write) -> None:
    row = {"q": "2 + 2", "gold": "4", "topic": "sums", "n": 17, "prompt": "not this"}
    path = write("mine.jsonl", row)
    names: dict[str, Any] = {"prompt": "q", "answer": "gold", "kind": "topic", "id": "n", "system_text": "Be brief."}
    (problem,) = custom_rows.load(path, test_fraction=0, **names).train
    assert (problem.prompt, problem.answer, problem.kind, problem.id) == ("2 + 2", "4", "sums", "17")
    assert problem.system == "Be brief." and problem.data == {"prompt": "not this"}


def test_without_ids_they_are_made_from_the_file_and_the_row(write: Write) -> None:
    path = write("mine.jsonl", {"prompt": "a", "answer": "1"}, "", {"prompt": "b", "answer": "2"})
    assert [p.id for p in custom_rows.load(path, test_fraction=0).train] == ["mine/1", "mine/2"]


def test_a_test_file_of_its_own(write: Write) -> None:
    train = write("train.jsonl", {"prompt": "a", "answer": "1"})
    test = write("test.csv", "prompt,answer", "b,2")
    split = custom_rows.load(train, test_path=test)
    assert [p.id for p in split.train + split.test] == ["train/1", "test/1"]
    split = custom_rows.load(train, test_path=write("other/train.jsonl", {"prompt": "b", "answer": "2"}))
    assert [p.id for p in split.train + split.test] == ["train/1", "train-test/1"]


def test_problems_without_an_answer(write: Write) -> None:
    (problem,) = custom_rows.load(
        write("a.jsonl", {"prompt": "code", "answer": "x"}), answer=None, test_fraction=0
    ).train
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
    (problem,) = custom_rows.load(path, test_fraction=0).train
    assert "".join(problem.data["choices"]) == letters and problem.answer == "B"


def test_choices_can_mean_nothing(write: Write) -> None:
    path = write("a.jsonl", {"prompt": "?", "answer": "one", "choices": ["one", "two"]})
    (problem,) = custom_rows.load(path, test_fraction=0, choices=None).train
    assert problem.answer == "one" and problem.data == {"choices": ["one", "two"]}


def test_a_csv_with_a_column_for_each_choice(write: Write) -> None:
    rows = ["prompt,A,B,C,D,answer", "Which?,one,two,three,four,c", "And?,1,2,,,B"]
    split = custom_rows.load(write("a.csv", *rows), test_fraction=0, choices=("A", "B", "C", "D"))
    assert [(p.data["choices"], p.answer) for p in split.train] == [(("A", "B", "C", "D"), "C"), (("A", "B"), "B")]
    assert split.train[0].prompt == "Which?\n\nA: one\nB: two\nC: three\nD: four"
    assert split.train[1].prompt == "And?\n\nA: 1\nB: 2" and set(split.train[0].data) == {"choices"}


def test_columns_of_other_names_are_lettered_in_their_order(write: Write) -> None:
    rows = ["prompt,opt1,opt2,answer", "Which?,one,two,opt2", "And?,three,four,A"]
    split = custom_rows.load(write("a.csv", *rows), test_fraction=0, choices=("opt1", "opt2"))
    assert [p.answer for p in split.train] == ["B", "A"] and split.train[0].prompt.endswith("A: one\nB: two")
    nested = write("b.jsonl", {"prompt": "?", "answer": "B", "o": {"x": 1, "y": "two"}})
    assert custom_rows.load(nested, test_fraction=0, choices=("o.x", "o.y")).train[0].prompt == "?\n\nA: 1\nB: two"


def test_choices_as_json_in_a_cell(write: Write) -> None:
    labelled = '"{""text"": [""x"", ""y""], ""label"": [""A"", ""B""]}"'
    rows = ["prompt,choices,answer", 'Which?,"[""one, or two"", ""three""]",A', f"And?,{labelled},B", "Free?,,x"]
    split = custom_rows.load(write("a.csv", *rows), test_fraction=0)
    assert [p.answer for p in split.train] == ["A", "B", "x"]
    assert split.train[0].prompt == "Which?\n\nA: one, or two\nB: three" and split.train[2].prompt == "Free?"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("?,one,,three,A", "'B' is empty, and an option behind it is not"),
        ("?,one,,,A", "only 'A' has the text of an option"),
        ("?,one,two,,C", "'answer' is 'C', but the options are A, B"),
        ("?,one,two,three,one", "'answer' is 'one' instead of the letter of an option"),
    ],
)
def test_columns_that_do_not_fit(write: Write, row: str, reason: str) -> None:
    path = write("a.csv", "prompt,A,B,C,answer", "Q,one,two,three,A", row)
    with pytest.raises(ProblemError, match=re.escape(reason)):
        custom_rows.load(path, test_fraction=0, choices=("A", "B", "C"))
    with pytest.raises(ProblemError, match=r"has a field 'E' \(given as the choices\)"):
        custom_rows.load(path, test_fraction=0, choices=("A", "E"))


def test_a_recipe_names_the_columns_of_the_choices(tmp_path: Path, write: Write) -> None:
    write("a.csv", "prompt,A,B,answer", *(f"Q{i},one,two,A" for i in range(10)))
    (tmp_path / "r.yaml").write_text(
        f"problems: {{type: file, path: {tmp_path}/a.csv, choices: [A, B], verifier: multiple_choice}}"
    )
    problems = load_problems(load_recipe(tmp_path / "r.yaml").problems).train
    assert problems[0].data["choices"] == ("A", "B") and "(A or B)" in problems[0].system
    again = load_recipe(tmp_path / "r.yaml", ["problems.choices=[A,B]"])
    assert again.problems.choices == ("A", "B")  # type: ignore[union-attr]


def test_a_hub_dataset(tmp_path: Path, write: Write) -> None:
    write("train.jsonl", *[{"prompt": f"q{i}", "answer": "1"} for i in range(10)])
    write("test.jsonl", {"prompt": "t", "answer": "1"})
    both = custom_rows.load_from_hub(str(tmp_path), test_split="test")
    assert (len(both.train), len(both.test)) == (10, 1)
    assert both.train[2].id == f"{tmp_path.name}/train/3"
    one = custom_rows.load_from_hub(str(tmp_path), split="train", test_fraction=0.2)
    assert (len(one.train), len(one.test)) == (8, 2)
    with pytest.raises(ProblemError, match="cannot be loaded"):
        custom_rows.load_from_hub(str(tmp_path), test_split="validation")


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
        custom_rows.load(path)
    assert f"1 of 3 rows of {path} cannot be used:\n    {path}:3: {reason}" in caught.value.message
    assert "problems.max_bad_fraction=0.34" in caught.value.hint
    split = custom_rows.load(path, max_bad_fraction=0.34, test_fraction=0)
    assert [p.id for p in split.train] == ["old", "other"] and reason in split.skipped[0]


def test_a_field_that_no_row_has(write: Write) -> None:
    path = write("a.jsonl", {"question": "?", "answer": "1"})
    with pytest.raises(ProblemError, match=r"has a field 'qestion' \(given as the prompt\)") as caught:
        custom_rows.load(path, prompt="qestion")
    assert caught.value.hint == "Did you mean question?"
    with pytest.raises(ProblemError, match="No field can be named for 'promt'") as caught:
        custom_rows.load(path, promt="question")
    assert "prompt" in caught.value.hint
    with pytest.raises(ProblemError) as caught:
        custom_rows.load(path)
    assert "The first row has: question, answer." in caught.value.hint


def test_all_rows_bad_is_an_error_whatever_is_allowed(write: Write) -> None:
    with pytest.raises(ProblemError, match="1 of 1 rows"):
        custom_rows.load(write("a.jsonl", {"prompt": "?"}), max_bad_fraction=0.99)
