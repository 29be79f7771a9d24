"""A bank that one model made, read by another that has learnt something else.

    python tests/memory/banks_between_models.py FOLDER --seeds 3      prints a line a world, and the mean

The policy in the box practises in a world and writes a bank. The other model is the box after a run in another world, its adapter
merged into its weights: of the 16 operators about half bear names of the first world, and mean something else there. It
never practises in the first world; it answers unseen problems of it from the plain prompt, and with the bank before them.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from pmd_agent.build import start
from pmd_agent.console import Console
from pmd_agent.export import export_run
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.memory.bank import export_bank
from pmd_agent.recipe import load_recipe
from pmd_agent.run_dir import RunDir

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
OTHER = 100
"""So far is the other model's world from the bank's."""


def run(folder: Path, name: str, world: int, **overrides: Any) -> Path:
    given = {
        "name": name, "runs": folder / "runs", "seed": world, "problems.seed": world, "problems.validation": 0,
        "evaluate.every": 0, "checkpoint_every": 1000,
    }  # fmt: skip
    recipe = load_recipe(RECIPE, [f"{key}={value}" for key, value in (given | overrides).items()])
    return start(recipe, console=Console(io.StringIO(), io.StringIO()))


def between(folder: Path, world: int, steps: int) -> dict[str, Any]:
    """The other model's accuracy in this world, without and with the bank that the box made there."""
    maker = run(folder, f"maker-{world}", world, steps=steps)
    bank = folder / f"bank-{world}.jsonl"
    with Memory.open(maker / "memory", HashingEmbedder()) as memory:
        export_bank(memory, bank)
    learnt = run(folder, f"other-{world}", world + OTHER, steps=steps)
    other = export_run(RunDir.open(learnt), folder / f"model-{world}", merge=True)
    only_reads = {"memory.frozen": "true", "distill.enabled": "false", "steps": 1, "rollout.problems": 1}
    reader = run(folder, f"reader-{world}", world, **{"policy.model": other, "memory.bank": bank}, **only_reads)
    final, own = (json.loads((path / "summary.json").read_text())["final"] for path in (reader, learnt))
    return {
        "world": world,
        "plain": final["free"],
        "with_bank": final["with_memory"],
        "at_home": own["free"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=32)
    given = parser.parse_args()
    rows = []
    for world in range(given.seeds):
        rows.append(between(given.folder, world, given.steps))
        print(json.dumps(rows[-1]), flush=True)
    print({name: round(fmean(row[name] for row in rows), 3) for name in ("plain", "with_bank", "at_home")})
