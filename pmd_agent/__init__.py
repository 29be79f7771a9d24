"""Procedural Memory Distillation: a model practises, remembers what worked, and absorbs it into its weights.

from pmd_agent import load_recipe, start

run = start(load_recipe("recipes/quickstart.yaml", ["seed=1"]), reflector=MyReflector())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pmd_agent.assembly.start import start
    from pmd_agent.recipe import Recipe, load_recipe, parse_recipe

_HOME = {
    "start": "pmd_agent.assembly.start",
    "Recipe": "pmd_agent.recipe",
    "load_recipe": "pmd_agent.recipe",
    "parse_recipe": "pmd_agent.recipe",
}

__all__ = ["Recipe", "load_recipe", "parse_recipe", "start"]


def __getattr__(name: str) -> Any:
    """Loaded when first used: `pmd --help` must not wait for torch."""
    if name == "metrics":
        from importlib import import_module

        return import_module("pmd_agent.metrics")
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
