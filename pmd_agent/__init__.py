"""Procedural Memory Distillation: a model practises, remembers what worked, and absorbs it into its weights.

import pmd_agent as pmd

run = pmd.Run.create("recipes/quickstart.yaml", overrides=["seed=1"])
for step in run:
    print(step.number, step.metrics["reward"])

docs/python.md is the guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pmd_agent import metrics
    from pmd_agent.assembly.run_memory import Recall, RunMemory
    from pmd_agent.assembly.run_policy import RunPolicy
    from pmd_agent.assembly.start import start
    from pmd_agent.errors import PMDError
    from pmd_agent.recipe import Recipe, load_recipe, parse_recipe
    from pmd_agent.run import Run
    from pmd_agent.types import Behavior, Experience, Insight, Problem, Rollout, Step, Verdict

_HOME = {
    "Behavior": "pmd_agent.types",
    "Experience": "pmd_agent.types",
    "Insight": "pmd_agent.types",
    "PMDError": "pmd_agent.errors",
    "Problem": "pmd_agent.types",
    "Recall": "pmd_agent.assembly.run_memory",
    "Recipe": "pmd_agent.recipe",
    "Rollout": "pmd_agent.types",
    "Run": "pmd_agent.run",
    "RunMemory": "pmd_agent.assembly.run_memory",
    "RunPolicy": "pmd_agent.assembly.run_policy",
    "Step": "pmd_agent.types",
    "Verdict": "pmd_agent.types",
    "load_recipe": "pmd_agent.recipe",
    "parse_recipe": "pmd_agent.recipe",
    "start": "pmd_agent.assembly.start",
}

__all__ = [
    "Behavior", "Experience", "Insight", "PMDError", "Problem", "Recall", "Recipe", "Rollout", "Run", "RunMemory",
    "RunPolicy", "Step", "Verdict", "load_recipe", "metrics", "parse_recipe", "start",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loaded when first used: `pmd --help` must not wait for torch."""
    from importlib import import_module

    if name == "metrics":
        return import_module("pmd_agent.metrics")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
