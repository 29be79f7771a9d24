"""What ships in recipes/: every command that a header or the documentation names is a recipe that resolves."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import RecipeError
from pmd_agent.problems import load_problems
from pmd_agent.recipe import Recipe, load_recipe
from pmd_agent.recipe.problems import SciKnowEvalProblems
from pmd_agent.sweep import load_sweep, runs_of
from pmd_agent.verifiers.build import BUILT_IN

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").glob("*.yaml"))
SWEEPS = [path for path in FILES if "\narms:" in path.read_text()]
RECIPES = [path for path in FILES if path not in SWEEPS]
OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)*=.*")


def header_of(path: Path) -> str:
    return path.read_text().split("\nname:")[0]


def named_in_headers() -> Iterator[Any]:
    """(recipe, overrides) of each line of a header that names some."""
    for path in RECIPES:
        for line in header_of(path).splitlines():
            words = shlex.split(line.removeprefix("#").replace("'", ""))
            if overrides := [word for word in words if OVERRIDE.fullmatch(word)]:
                yield pytest.param(path, overrides, id=f"{path.stem} {' '.join(overrides)}")


def arms() -> Iterator[Any]:
    """The overrides of each row of the tables `Arms` and `The loss` in docs/recipes.md."""
    text = (ROOT / "docs" / "recipes.md").read_text()
    for section in ("Arms", "The loss"):
        body = text.split(f"## {section}\n")[1].split("\n## ")[0]
        for row in re.findall(r"^\| (?!to get|---)(.+?) \| (.+) \|$", body, re.MULTILINE):
            overrides = [quoted for quoted in re.findall(r"`([^`]+)`", row[1]) if "=" in quoted]
            yield pytest.param(overrides, id=row[0])


def test_there_are_the_recipes_of_the_paper_and_of_ones_own() -> None:
    names = {path.stem for path in RECIPES}
    assert names >= {"quickstart", "sciknoweval", "livecodebench", "humaneval", "gsm8k", "bring-your-own"}


@pytest.mark.parametrize(("path", "overrides"), list(named_in_headers()))
def test_every_override_that_a_header_names_resolves(path: Path, overrides: list[str]) -> None:
    changed, plain = load_recipe(path, overrides), load_recipe(path)
    assert isinstance(changed, Recipe) and changed != plain, "it changes something"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_header_says_how_to_look_and_how_to_run(path: Path) -> None:
    header = header_of(path)
    assert f"pmd run recipes/{path.name}" in header
    if path.stem != "quickstart":
        assert f"pmd problems recipes/{path.name}" in header and "docs/recipes.md, Arms" in header
    assert all(len(line) <= 160 for line in header.splitlines())


@pytest.mark.parametrize("overrides", list(arms()))
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_arm_resolves_on_every_recipe(path: Path, overrides: list[str]) -> None:
    assert overrides
    recipe = load_recipe(path, [f"name={path.stem}-arm", *overrides])
    assert recipe.name == f"{path.stem}-arm"
    for override in overrides:
        key, _, value = override.partition("=")
        found: Any = recipe.model_dump(mode="json")
        for part in key.split("."):
            found = found[part]
        assert str(found).replace(" ", "").replace("'", "") in (
            value,
            value.title(),
            "None" if value == "null" else value,
        )


def test_there_are_arms() -> None:
    assert len(list(arms())) >= 15


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_verifier_of_every_recipe_ships(path: Path) -> None:
    assert load_recipe(path).problems.verifier in BUILT_IN


@pytest.mark.parametrize("domain", ["biology", "chemistry", "material", "physics"])
def test_sciknoweval_all_four_together_and_each_alone(tmp_path: Path, domain: str) -> None:
    prompt = "Which?\n\nA: one\nB: two\nC: three\nD: four\nPlease reason step by step."
    for number, name in enumerate(["biology", "chemistry", "material", "physics"], start=2):
        (tmp_path / name).mkdir()
        for part, count in (("train", 10 * number), ("test", number)):
            rows = [
                {"idx": f"{part}{i}", "kind": "mcq", "prompt": f"{i} {part} {name} {prompt}", "answer": "B"}
                for i in range(count)
            ]
            (tmp_path / name / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = ROOT / "recipes" / "sciknoweval.yaml"
    whole = load_problems(load_recipe(path, [f"problems.path={tmp_path}"]).problems)
    assert (
        {p.kind for p in whole.train} == {p.kind for p in whole.test} == {"biology", "chemistry", "material", "physics"}
    )
    recipe = load_recipe(path, [f"problems.path={tmp_path}", f"problems.domains=[{domain}]"])
    assert isinstance(recipe.problems, SciKnowEvalProblems) and recipe.problems.domains == (domain,)
    alone = load_problems(recipe.problems)
    assert {p.kind for p in alone.train + alone.validation + alone.test} == {domain}
    assert {p.id for p in alone.test} == {p.id for p in whole.test if p.kind == domain}
    assert {p.id for p in alone.train + alone.validation} == {
        p.id for p in whole.train + whole.validation if p.kind == domain
    }


def test_the_table_of_bring_your_own_is_what_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sets = load_problems(load_recipe("recipes/bring-your-own.yaml").problems)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (32, 16, 40) and sets.skipped == ()
    assert {p.kind for p in sets.test} == {"one", "two"} and not {p.prompt for p in sets.train} & {
        p.prompt for p in sets.test
    }


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_resolves_and_is_told_from_a_recipe(path: Path) -> None:
    sweep = load_sweep(path)
    for seeds in ("validate", "report"):
        assert {run.arm for run in runs_of(sweep, seeds)} == {*sweep.arms}
    assert f"pmd sweep recipes/{path.name}" in header_of(path)
    with pytest.raises(RecipeError, match="is a sweep"):
        load_recipe(path)
