"""Folders of finished runs, written as a run writes them, without a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.evaluation.scores import Outcome, accuracy
from pmd_agent.recipe import dump_recipe, parse_recipe

Make = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    def make(
        name: str,
        *,
        final: Sequence[int],
        seed: int = 0,
        base: Sequence[int] | None = None,
        with_memory: Sequence[int] | None = None,
        validation: Sequence[float] = (),
        step_seconds: float = 1.0,
        finished: bool = True,
        **keys: Any,
    ) -> Path:
        """`final` and the others: 0 or 1 for each test problem, the odd ones of kind b. Validation after each step."""
        folder = tmp_path / "runs" / name
        data = {
            "name": name, "seed": seed, "steps": max(1, len(validation)), "runs": str(tmp_path / "runs"),
            "problems": {"type": "world", "seed": seed}, **keys,
        }  # fmt: skip
        (folder / "evaluation").mkdir(parents=True)
        (folder / "recipe.yaml").write_text(dump_recipe(parse_recipe(data)))
        measured = {"base": base or [0] * len(final), "final": final, "final_with_memory": with_memory}
        results = {}
        for what, right in measured.items():
            if right is None:
                continue
            outcomes = [Outcome(f"p{i}", "ab"[i % 2], 1, r, bool(r), 0) for i, r in enumerate(right)]
            results[what] = accuracy(outcomes)
            rows = "".join(json.dumps(o.record()) + "\n" for o in outcomes)
            (folder / "evaluation" / f"{what}.jsonl").write_text(rows)
        steps = [
            {
                "step": i, "rollouts": 64, "teacher_gain": 0.1 * i,
                "validation": share, "stage_seconds": {"distil": step_seconds, "evaluate": 50.0}, "seconds": 51.0,
            }
            for i, share in enumerate(validation)
        ]  # fmt: skip
        (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
        (folder / "state.json").write_text(
            json.dumps({"next_step": len(steps), "metrics_bytes": (folder / "metrics.jsonl").stat().st_size})
        )
        if finished:
            summary = {
                "name": name, "seed": seed, "steps": len(steps), "rollouts": 64 * len(steps), "internalisation": None,
                "base": {"free": results["base"]["avg"], "detail": results["base"]},
                "final": {
                    "free": results["final"]["avg"], "detail": results["final"],
                    "with_memory": results.get("final_with_memory", {}).get("avg"),
                },
                "seconds": {"distil": step_seconds * len(steps), "evaluate": 50.0, "evaluation": 9.0},
            }  # fmt: skip
            (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return make
