"""What a Python program gives in place of a recipe's file, as a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pmd_agent.arguments import kind_of
from pmd_agent.assembly.given import Check, name_of
from pmd_agent.errors import RunError
from pmd_agent.problems import Item, ProblemSets, given_problems
from pmd_agent.recipe import Recipe, load_recipe, override_recipe, parse_recipe
from pmd_agent.recipe.problems import GivenProblems


def resolved(recipe: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str], name: str | None) -> Recipe:
    """A recipe's file, plain data, or a Recipe, with overrides. Raises RunError for anything else, RecipeError."""
    if isinstance(overrides, str | Mapping) or not all(isinstance(each, str) for each in overrides):
        raise RunError("overrides is no list of texts.", "Write overrides=['steps=3', 'distill.lr=1e-4'].")
    if not isinstance(recipe, str | Path | Mapping | Recipe):
        raise RunError(f"The recipe is {kind_of(recipe)}.", "Give a file, a dict, or a Recipe.")
    names = [*overrides, *([] if name is None else [f"name={name}"])]
    if isinstance(recipe, str | Path):
        return load_recipe(recipe, names)
    if isinstance(recipe, Recipe):
        return parse_recipe(override_recipe(recipe.model_dump(mode="json"), names)) if names else recipe
    return parse_recipe(override_recipe(recipe, names))


def with_problems(
    recipe: Recipe,
    problems: Iterable[Item],
    test: Iterable[Item] | None,
    validation: Iterable[Item] | None,
    verifier: Check | str | None,
) -> tuple[Recipe, ProblemSets]:
    """The recipe with what is given in place of its own problems: it keeps the verifier, and how problems are held out."""
    keys: dict[str, Any] = {}
    if "problems" in recipe.model_fields_set:
        keys = {
            k: v
            for k in GivenProblems.model_fields
            if k != "type" and (v := getattr(recipe.problems, k, None)) is not None
        }
    if verifier is not None:
        keys["verifier"] = verifier if isinstance(verifier, str) else name_of(verifier)
    section = GivenProblems(**keys)
    return recipe.model_copy(update={"problems": section}), given_problems(problems, test, validation, section)


def differences(one: Recipe, other: Recipe) -> str:
    """In the code that they name."""
    names = ("verifier", "environment")
    pairs = [(f"problems.{k}", getattr(one.problems, k, None), getattr(other.problems, k, None)) for k in names]
    pairs += [
        (f"pipeline.{k}", getattr(one.pipeline, k), getattr(other.pipeline, k)) for k in ("reflector", "generaliser")
    ]
    return ", ".join(f"{key} {old} -> {new}" for key, old, new in pairs if old != new)
