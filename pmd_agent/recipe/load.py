"""From YAML and overrides to a validated Recipe, and back."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pmd_agent.errors import RecipeError
from pmd_agent.recipe.keys import describe_fault, fill_types, is_variant_choice, unknown_keys
from pmd_agent.recipe.problems import Bounds
from pmd_agent.recipe.recipe import Recipe
from pmd_agent.recipe.removed_keys import without_gone
from pmd_agent.recipe.yaml import AS_WRITTEN, read_value, read_yaml, write_yaml


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with `key.sub=value` overrides, whose order does not matter. Raises RecipeError."""
    path = Path(path)
    if not path.is_file():
        names = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, 1)
        known = f"Did you mean {path.parent / near[0]}?" if near else ""
        raise RecipeError(f"There is no recipe {path}.", known or "Give the path of a YAML file.")
    data = fill_types(read_yaml(path), Recipe)
    if "arms" in data:
        raise RecipeError(f"{path} is a sweep, of several runs.", f"Start it with: pmd sweep {path}")
    return parse_recipe(override_recipe(data, overrides), str(path))


def override_recipe(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain data with `key.sub=value` overrides, whose order does not matter. Raises RecipeError for what is none."""
    changed: dict[str, Any] = fill_types(data, Recipe)
    choices = [o for o in overrides if is_variant_choice(o.partition("=")[0], Recipe)]
    for override in [*choices, *(o for o in overrides if o not in choices)]:
        _set(changed, override)
    return changed


def parse_recipe(data: Mapping[str, Any], source: str = "the recipe") -> Recipe:
    """Validate plain data. Raises RecipeError with every fault in it, each on a line."""
    data, faults = without_gone(fill_types(data, Recipe))
    faults += unknown_keys(data, Recipe)
    if not faults:
        try:
            return Recipe.model_validate(data)
        except ValidationError as error:
            faults = list(dict.fromkeys(describe_fault(e, Recipe) for e in error.errors()))
    raise RecipeError(f"{source}: " + "\n  ".join(faults), "`pmd schema` prints every key with its bounds.")


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as YAML from which an equal one is loaded."""
    return write_yaml(recipe.model_dump(mode="json"))


def write_overrides(settings: Mapping[str, Any]) -> list[str]:
    """`key.sub=value` of each, as `load_recipe` reads them back."""
    return [
        f"{key}={value if isinstance(value, str) and read_value(value, key) == value else json.dumps(value)}"
        for key, value in settings.items()
    ]


VARIANTS_SHARE = {"policy": frozenset({"model", "dtype", "device", "thinking"})}
"""Keys that mean the same in every variant: `policy.type=vllm` keeps the recipe's model."""


def _steps(key: str) -> list[str]:
    """From section to key. Below problems.where is the name of a field, which may have dots: `problems.where.details.level`."""
    name = key.removeprefix(f"{AS_WRITTEN}.")
    if name == key:
        return key.split(".")
    field, _, bound = name.rpartition(".")
    return [*AS_WRITTEN.split("."), *((field, bound) if field and bound in Bounds.model_fields else (name,))]


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"{override!r} is no override.", "Write key=value, for example distill.lr=1e-4.")
    value = read_value(text, key)
    *parents, last = _steps(key)
    for parent in parents:
        if not isinstance(data.get(parent), dict):
            data[parent] = {}
        data = data[parent]
    if is_variant_choice(key, Recipe) and data.get("type") != value:
        known = VARIANTS_SHARE.get(parents[-1], frozenset())
        for name in [n for n in data if n not in known]:
            del data[name]  # another variant has other keys
    data[last] = value
