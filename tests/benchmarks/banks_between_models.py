"""A bank that one model made, read by another that has learnt something else.

    python -m tests.benchmarks.banks_between_models FOLDER --seeds 3      prints a line a world, and the mean

The one model is the policy in the box; the other is the box after a run in another world, its adapter merged into its weights:
about half of that world's operators bear names of the first, and mean something else. Each attempts problems of the first world and writes a bank
there, without learning; each then answers unseen problems of that world, from the plain prompt, with the bank that the other wrote, and with
its own. `at_home` is the other model in its own world.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from pmd_agent.assembly.start import start
from pmd_agent.console import Console
from pmd_agent.export import export_run
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.memory.bank import export_bank
from pmd_agent.recipe import load_recipe
from pmd_agent.runs.folder import RunDir

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
OTHER = 100
"""So far is the other model's world from the bank's."""


def run(folder: Path, name: str, world: int, **overrides: Any) -> Path:
    given = {
        "name": name, "runs": folder / "runs", "seed": world, "problems.seed": world, "problems.validation": 0,
        "evaluate.every": 0, "checkpoint_every": 1000,
        "pipeline.style": "box",  # the other model is a box, too, and lies in a folder
    }  # fmt: skip
    recipe = load_recipe(RECIPE, [f"{key}={value}" for key, value in (given | overrides).items()])
    return start(recipe, console=Console(io.StringIO(), io.StringIO()))


def accuracies(folder: Path, name: str, world: int, model: str | Path, bank: Path) -> dict[str, float]:
    """Of a model in this world, without and with a bank before it; nothing is learnt and nothing written."""
    only_reads = {"memory.frozen": "true", "distill.enabled": "false", "steps": 1, "rollout.problems": 1}
    path = run(folder, name, world, **{"policy.model": model, "memory.bank": bank}, **only_reads)
    return {"plain": final(path)["free"], "with_bank": final(path)["with_memory"]}


def final(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "summary.json").read_text())["final"]
    return found


def bank_of(path: Path, to: Path) -> Path:
    with Memory.open(path / "memory", HashingEmbedder()) as memory:
        export_bank(memory, to)
    return to


def between(folder: Path, world: int, steps: int) -> dict[str, Any]:
    """Both ways: the box reads what the other model wrote in this world, and that model reads what the box wrote."""
    learnt = run(folder, f"other-{world}", world + OTHER, steps=steps, **{"distill.lr": 1e-3})
    other = export_run(RunDir.open(learnt), folder / f"model-{world}", merge=True)
    theirs, ours = (
        run(folder, f"maker-{name}-{world}", world, steps=steps, **{"policy.model": model, "distill.enabled": "false"})
        for name, model in (("other", other), ("box", "box"))
    )
    return {
        "world": world,
        "at_home": final(learnt)["free"],
        "box": accuracies(folder, f"box-{world}", world, "box", bank_of(theirs, folder / f"other-{world}.jsonl"))
        | {"with_own": final(ours)["with_memory"]},
        "other": accuracies(folder, f"reader-{world}", world, other, bank_of(ours, folder / f"box-{world}.jsonl"))
        | {"with_own": final(theirs)["with_memory"]},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="number of the first world")
    parser.add_argument("--steps", type=int, default=32)
    given = parser.parse_args()
    rows = []
    for world in range(given.first, given.first + given.seeds):
        rows.append(between(given.folder, world, given.steps))
        print(json.dumps(rows[-1]), flush=True)
    for reader in ("box", "other"):
        print(reader, {name: round(fmean(row[reader][name] for row in rows), 3) for name in rows[0][reader]})
