"""In what a resumed run may differ from its recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pmd_agent.errors import RunError
from pmd_agent.recipe import Recipe, load_recipe

MAY_CHANGE = ("name", "runs", "steps", "epochs", "track", "checkpoint_every", "keep_checkpoints", "evaluate.")
"""Keys in which a resumed run may differ from its recipe; `name` and `runs` say where it is."""
MEASURED_SO = ("evaluate.samples", "evaluate.temperature", "evaluate.top_p", "evaluate.max_problems")
"""Of these, those that stay once the base was measured: before and after would be two different measurements."""


def changes_of(path: Path, recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    """Keys in which a recipe differs from that of the run in `path`, with both values. Raises RunError for what may not change."""
    changed = _changes(load_recipe(path / "recipe.yaml"), recipe)
    fixed = MEASURED_SO if (path / "evaluation" / "base.json").is_file() else ()
    refused = [
        f"{key}: {old!r} -> {new!r}" + (" (the base was measured so)" if key in fixed else "")
        for key, (old, new) in changed.items()
        if key in fixed or not _may_change(key)
    ]
    if refused:
        what = "".join(f"\n    {line}" for line in refused)
        hint = "Resume it with the recipe that it was started with, or start another run with --name NAME."
        raise RunError(f"{path} was started with another recipe:{what}", hint)
    return changed


def _changes(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    before, after = (dict(flat(recipe.model_dump(mode="json"))) for recipe in (old, new))
    keys = dict.fromkeys([*before, *after])
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys joined by dots."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _may_change(key: str) -> bool:
    return any(key == allowed or (allowed.endswith(".") and key.startswith(allowed)) for allowed in MAY_CHANGE)
