"""pmd init on files as people have them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pmd_agent.cli import app
from pmd_agent.problems import load_problems
from pmd_agent.problems.guess import guess
from pmd_agent.recipe import load_recipe

DATA = Path(os.environ.get("PMD_TEST_DATA", "/nowhere"))
MATH = [
    {"question": f"What is {n} + {n}?", "answer": f"{n} and {n} make\n#### {2 * n}", "level": n % 3} for n in range(40)
]


def written(rows: Sequence[dict[str, Any]], folder: Path) -> Path:
    path = folder / "my data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("rows", "fields", "verifier"),
    [
        (MATH, {"prompt": "question", "answer": "answer", "kind": "level"}, "math"),
        ([{"Query": "Capital of France?", "Expected": "Paris"}], {"prompt": "Query", "answer": "Expected"}, "exact"),
        ([{"q": "a longer text than that", "gold": "7"}], {"prompt": "q", "answer": "gold"}, "math"),
        (
            [{"problem": "Which?", "A": "one", "B": "two", "C": "three", "label": "B"}],
            {"prompt": "problem", "answer": "label", "choices": ["A", "B", "C"]},
            "multiple_choice",
        ),
        (
            [{"question": "Which?", "options": ["one", "two"], "answer": "A"}],
            {"prompt": "question", "answer": "answer", "choices": "options"},
            "multiple_choice",
        ),
        ([{"prompt": "Write f.", "tests": ["assert f(1) == 1"]}], {"prompt": "prompt", "answer": None}, "code"),
        (
            [{"prompt": "p", "answer": "a", "type": str(n)} for n in range(40)],
            {"prompt": "prompt", "answer": "answer"},
            "exact",
        ),
        ([{"n": 1}], {"prompt": None}, "exact"),
    ],
)
def test_what_the_fields_are(rows: list[dict[str, Any]], fields: dict[str, Any], verifier: str) -> None:
    found = guess(rows)
    assert dict(found.fields) == fields and found.verifier == verifier
    assert found.why["verifier"]


def test_a_recipe_that_loads_and_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(MATH, tmp_path)
    shown = CliRunner().invoke(app, ["init", str(path), "--to", "mine.yaml"])
    assert shown.exit_code == 0, shown.output
    assert "31 problems to practise on" in shown.output and "40 of 40 answers are numbers" in shown.output
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert len(load_problems(recipe.problems).train) == 31 and recipe.rollout.problems <= 31
    text = (tmp_path / "mine.yaml").read_text()
    assert "kind: level # by its name" in text and text.startswith("# Purpose   40 problems of my data.jsonl")
    again = CliRunner().invoke(app, ["init", str(path), "--to", "mine.yaml"])
    assert "nothing is overwritten" in str(again.exception)
    assert (tmp_path / "mine.yaml").read_text() == text


def test_a_table_of_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "quiz.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["question", "A", "B", "answer"])
        table.writerows([f"Number {n}?", "even", "odd", "AB"[n % 2]] for n in range(30))
    shown = CliRunner().invoke(app, ["init", "quiz.csv"])
    assert shown.exit_code == 0 and "warning" not in shown.output, shown.output
    (problem, *_) = load_problems(load_recipe(tmp_path / "quiz.yaml").problems).train
    assert "even" in problem.prompt and problem.answer in "AB"


def test_what_does_not_load_is_said_and_the_recipe_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["init", str(written([{"prompt": "a"}] * 3, tmp_path)), "--to", "x.yaml"])
    assert shown.exit_code == 0 and "do not load yet" in shown.output and (tmp_path / "x.yaml").is_file()
    missing = CliRunner().invoke(app, ["init", "missing.jsonl"])
    assert missing.exception is not None and not (tmp_path / "missing.yaml").exists()


@pytest.mark.skipif(not DATA.is_dir(), reason="real rows: PMD_TEST_DATA")
def test_real_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["init", str(DATA / "gsm8k/test.jsonl"), "--to", "g.yaml"])
    assert shown.exit_code == 0 and "warning" not in shown.output, shown.output
    assert load_recipe(tmp_path / "g.yaml").problems.verifier == "math"
