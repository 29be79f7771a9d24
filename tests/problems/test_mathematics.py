from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import mathematics

Write = Callable[..., Path]


def gsm8k(number: int = 0, **changes: Any) -> dict[str, Any]:
    row = {
        "question": f"{number} hens lay 2 eggs each. How many?",
        "answer": f"{number} * 2 = <<{number}*2={number * 2}>>.\n#### {number * 2}",
    }
    return row | changes


def competition(number: int = 0, **changes: Any) -> dict[str, Any]:
    solution = rf"Halve it, \boxed{{no}}, no: it is $\boxed{{\frac{{{number}}}{{2}}}}$."
    return {"problem": f"Half of {number}?", "solution": solution, "type": "Algebra", "level": "Level 5"} | changes


def test_gsm8k_from_the_hub(tmp_path: Path, write: Write) -> None:
    """Through the real library, in the hub's shape: a configuration `main` with train and test."""
    write("set/main/train.jsonl", *map(gsm8k, range(20)))
    write("set/main/test.jsonl", gsm8k(600))
    (tmp_path / "set/README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train.jsonl\n  - split: test\n"
        "    path: main/test.jsonl\n---\n"
    )
    split = mathematics.load(None, hub=str(tmp_path / "set"))
    assert (len(split.train), len(split.test)) == (20, 1)
    assert [p.id for p in split.train[:2]] == ["gsm8k/train/1", "gsm8k/train/2"] and split.test[0].id == "gsm8k/test/1"
    assert split.test[0].answer == "1200" and r"\boxed{}" in split.test[0].system
    assert "####" not in split.test[0].prompt and "<<" not in split.test[0].prompt
    folder = mathematics.load(tmp_path / "set/main")
    assert folder == split, "the same files in a folder give the same problems"


def test_math(write: Write) -> None:
    rows = [competition(i, level=f"Level {i % 3}") for i in range(12)]
    split = mathematics.load(
        write("train.jsonl", *rows), kind="level", where={"level": ["Level 1", "Level 2"]}, test_fraction=0.25
    )
    assert (len(split.train), len(split.test)) == (6, 2) and {p.kind for p in split.train} == {"Level 1", "Level 2"}
    assert {p.answer for p in split.train} <= {rf"\frac{{{i}}}{{2}}" for i in range(12)}
    assert split.train[0].id.startswith("math/train/")
    five = competition(9, unique_id="test/algebra/9.json", answer="4.5", subject="Algebra", level=5)
    path = write("five.jsonl", five, competition(8, subject="Geometry"))
    assert [(p.id, p.answer, p.kind) for p in mathematics.load(path, test_fraction=0).train] == [
        ("math/test/algebra/9.json", "4.5", "Algebra"), ("math/five/2", r"\frac{8}{2}", "Geometry"),
    ]  # fmt: skip
    assert [p.kind for p in mathematics.load(path, test_fraction=0, kind="level").train] == ["5", "Level 5"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "?"}, "neither 'question' (as in GSM8K) nor 'problem' (as in MATH); it has: text"),
        (gsm8k(question=""), "'question' is empty"),
        (gsm8k(answer="42"), "'answer' has no '####' with the number behind it"),
        (gsm8k(answer="so\n####  "), "'answer' has nothing behind its '####'"),
        (gsm8k(answer=None), "'answer' is null"),
        (gsm8k(answer=42), "'answer' is an integer instead of a string"),
        (competition(problem=None), "'problem' is null"),
        (competition(solution="It is 4."), r"'solution' has no \boxed{} with an answer in it"),
        (competition(solution=r"\boxed{4"), r"'solution' has no \boxed{} with an answer in it"),
        (competition(solution=3), "'solution' is an integer instead of a string"),
        (competition(answer=""), "'answer' is empty"),
        (competition(type=["a"]), "'type' is a list instead of a string"),
    ],
)
def test_a_row_that_does_not_fit_says_why(write: Write, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProblemError) as caught:
        mathematics.load(write("a.jsonl", gsm8k(1), gsm8k(2), row))
    assert f"a.jsonl:3: {reason}" in caught.value.message


def test_a_few_empty_boxes_are_left_out_and_named(write: Write) -> None:
    """As the two of MATH's 12,500 rows."""
    empty = competition(solution=r"So it is $\boxed{ }$.")
    path = write("a.jsonl", *map(competition, range(8)), empty, empty)
    split = mathematics.load(path)
    assert len(split.train) + len(split.test) == 8
    assert split.skipped == tuple(rf"{path}:{line}: 'solution' has an empty \boxed{{}}" for line in (9, 10))
    many = write("b.jsonl", *map(competition, range(250)), empty, empty, empty)
    with pytest.raises(ProblemError, match="3 of 253 rows"):
        mathematics.load(many)
    assert len(mathematics.load(many, max_bad_fraction=0.02).skipped) == 3
    enough = write("c.jsonl", *map(competition, range(297)), empty, empty, empty)
    assert len(mathematics.load(enough).skipped) == 3
    with pytest.raises(ProblemError, match="3 of 10 rows"):  # a fault is not excused by what is
        mathematics.load(write("d.jsonl", *map(competition, range(7)), empty, empty, {"text": "?"}))
    with pytest.raises(ProblemError, match="empty"):
        mathematics.load(write("e.jsonl", empty))


def test_boxes_of_other_names(write: Write) -> None:
    solutions = [
        r"So \fbox{3}.",
        r"So \boxed\frac12.",
        r"So $\boxed 7$.",
        r"\boxed\sqrt[3]{2}$",
        r"\framebox{\text{east}}",
    ]
    path = write("a.jsonl", *(competition(i, solution=text) for i, text in enumerate(solutions)))
    assert [p.answer for p in mathematics.load(path, test_fraction=0).train] == [
        "3", r"\frac12", "7", r"\sqrt[3]{2}", r"\text{east}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("1,234,000", "1234000"), ("1,234", "1234"), ("-12,345.60", "-12345.60"), ("$1,234", "$1234"), ("999", "999"),
        ("(1,3)", "(1,3)"), ("(1,234)", "(1,234)"), ("[1,300]", "[1,300]"), ("{1,200}", "{1,200}"), ("3, 14", "3, 14"), ("3,14", "3,14"),
        ("1,2345", "1,2345"), ("1,234,56", "1,234,56"), ("0.123,456", "0.123,456"), ("1,234, 5", "1234, 5"),
    ],
)  # fmt: skip
def test_only_commas_between_groups_of_three_digits_go(write: Write, written: str, answer: str) -> None:
    (problem,) = mathematics.load(write("a.jsonl", gsm8k(answer=f"#### {written}")), test_fraction=0).train
    assert problem.answer == answer
