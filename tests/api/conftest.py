"""Small runs: with a scripted policy, which needs no model, and with the policy in the box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pmd_agent.types import Problem

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def problems() -> list[Problem]:
    return [Problem(f"p/{i}", f"What is {i} + {i}?", str(2 * i)) for i in range(8)]


@pytest.fixture
def scripted(tmp_path: Path) -> dict[str, Any]:
    """A recipe whose policy says 4, 6, 4, 6, ..."""
    return {
        "name": "one",
        "runs": str(tmp_path / "runs"),
        "steps": 3,
        "policy": {"type": "scripted", "answers": ["4", "6"]},
        "rollout": {"problems": 4, "samples": 2},
        "evaluate": {"every": 0, "samples": 1},
        "problems": {"type": "world", "verifier": "exact"},
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that has recipes/."""
    (tmp_path / "recipes").symlink_to(RECIPES)
    monkeypatch.chdir(tmp_path)
    return tmp_path
