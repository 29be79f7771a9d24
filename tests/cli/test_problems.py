"""pmd problems: what is said of each source, of what does not fit, and of what is there twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pmd_agent.cli import app
from pmd_agent.errors import PMDError

Pmd = Callable[..., subprocess.CompletedProcess[str]]


def test_a_world(pmd: Pmd, tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text("problems: {type: world}\npolicy: {type: scripted}\n")
    said = pmd("problems", "world.yaml").stdout
    assert "---- prompt 3 of 3: world/0/train/2op/0002" in said and "---- checked by exact: " in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip()}
    assert (
        rows["2op"] == ["64", "20", "100"] and rows["1op"] == ["0", "20", "100"] and rows["all"] == ["64", "40", "200"]
    )
    assert "prompts in training and in test: none" in said and "rows that do not fit: none" in said
    assert [path.name for path in tmp_path.iterdir()] == ["world.yaml"], "nothing is written"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows: list[object] = [{"id": f"p{i}", "prompt": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(20)]
    rows[7] = {"id": "twice", "prompt": "what is 3 + 3?  ", "answer": "7"}
    rows[9] = {"id": "empty", "prompt": "", "answer": "7"}
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "mine.yaml"
    path.write_text(
        "problems: {type: file, path: mine.jsonl, test_fraction: 0.2, validation_fraction: 0.1, max_bad_fraction: 0.1}\n"
        "policy: {type: scripted}\n"
    )
    return path


def test_what_is_twice_and_what_does_not_fit(pmd: Pmd, recipe: Path) -> None:
    said = pmd("problems", str(recipe)).stdout
    assert "p3 = twice (with different answers)" in said or "twice = p3 (with different answers)" in said
    assert "rows that do not fit: 1\n  mine.jsonl:10: 'prompt' is empty" in said
    assert "characters of a prompt (the scripted policy has no tokenizer; " in said
    assert "user: What is" in said


def test_the_same_as_data(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recipe.parent)
    done = CliRunner().invoke(app, ["problems", recipe.name, "--json"], catch_exceptions=False)
    (found,) = map(json.loads, done.stdout.splitlines())
    assert found["counts"]["all"] == {"training": 13, "validation": 2, "test": 4}
    (twice,) = (each for repeats in found["overlaps"].values() for each in repeats)
    assert set(twice["ids"]) == {"p3", "twice"} and twice["answers"]
    assert found["skipped"] == ["mine.jsonl:10: 'prompt' is empty"]
    assert [split["split"] for split in found["lengths"]["splits"]] == ["training", "validation", "test"]
    assert len(found["prompts"]) == 3 and all(p["checked_against"].isdigit() for p in found["prompts"])
    (recipe.parent / "mine.jsonl").write_text('{"id": "a"}\n' * 9)
    with pytest.raises(PMDError):
        CliRunner().invoke(app, ["problems", recipe.name, "--json"], catch_exceptions=False)


def test_too_many_that_do_not_fit_are_all_named_and_an_error(pmd: Pmd, recipe: Path) -> None:
    with (recipe.parent / "mine.jsonl").open("a") as file:
        file.write('{"id": "x", "answer": "1"}\n' * 12)
    done = pmd("problems", str(recipe), code=2)
    assert done.stdout.startswith("rows that do not fit: 13\n") and done.stdout.count("no 'prompt'") == 12
    assert (
        "13 of 32 rows of mine.jsonl cannot be used" in done.stderr and "problems.max_bad_fraction=0.41" in done.stderr
    )


def test_a_list_is_cut_unless_all_is_asked_for(pmd: Pmd, recipe: Path) -> None:
    (recipe.parent / "mine.jsonl").write_text('{"prompt": "?", "answer": "1"}\n' * 40)
    said = pmd("problems", str(recipe), "problems.validation_fraction=0.4").stdout
    assert "prompts in training and in validation: 13\n" in said and "  ... and 3 more (--all)" in said
    assert " more (--all)" not in pmd("problems", str(recipe), "problems.validation_fraction=0.4", "--all").stdout


@pytest.mark.parametrize(
    ("verifier", "says"),
    [
        ("exct", "no verifier 'exct'"),
        ("json:nope", "nope"),
        ("multiple_choice", "is not one of the options"),
    ],
)
def test_a_verifier_that_cannot_check_them(pmd: Pmd, recipe: Path, verifier: str, says: str) -> None:
    assert says in pmd("problems", str(recipe), f"problems.verifier={verifier}", code=2).stderr


def test_a_source_that_is_not_there(pmd: Pmd, recipe: Path) -> None:
    done = pmd("problems", str(recipe), "problems.path=mne.jsonl", code=2)
    assert "There is no mne.jsonl" in done.stderr and "mine.jsonl" in done.stderr


def test_a_model_is_probed_and_what_it_cannot_follow_is_named(pmd: Pmd, tmp_path: Path) -> None:
    (tmp_path / "office.yaml").write_text(
        "problems: {type: house_rules, departments: 1, rules: 2, conventions: [priority, ticket]}\n"
        "policy: {type: scripted, answers: [<answer>URGENT</answer>, <answer>NORMAL</answer>, <answer>LOW</answer>]}\n"
    )
    said = pmd("problems", "office.yaml", "--probe", "--cases", "2").stdout
    rows = [line.split() for line in said.splitlines()]
    assert ["convention", "form", "untold", "told", "its", "rule", "told", "all", "rules"] in rows
    assert next(row for row in rows if row[:2] == ["ticket", "hash"])[2:4] == ["0.0%", "0.0%"]
    assert len([row for row in rows if row[:1] in (["priority"], ["ticket"])]) == 8
    assert " of 8 forms" in said


def test_what_has_no_rules_is_not_probed(pmd: Pmd, tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text("problems: {type: world}\npolicy: {type: scripted}\n")
    assert "Set problems.type=house_rules" in pmd("problems", "world.yaml", "--probe", code=2).stderr
