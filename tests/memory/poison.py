"""Planted falsehoods, and whether the loop finds them: the policy in the box, its world, and a bank of which 30 % is false.

    python tests/memory/poison.py FOLDER --seeds 3 --steps 24     prints a line a run, and precision and recall

Three runs a seed: the poisoned bank with lift measured and acted on, the same bank without, and a bank without poison. The
bank has a rule for each operator and a strategy for each operator of each training problem. Nothing new is reflected, so
that what is planted is what there is. A false rule names another rule of the world for its operator.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from pathlib import Path
from typing import Any

import dspy

from pmd_agent.build import start
from pmd_agent.console import Console
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.memory.bank import export_bank
from pmd_agent.problems.world import RULES, World
from pmd_agent.recipe import load_recipe
from pmd_agent.types import Behavior, Insight

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
FALSE = 0.3
TRAIN = 16


class Silent(dspy.Module):  # type: ignore[misc]
    """Stands for reflection and generalisation, and writes nothing."""

    def forward(self, **_: Any) -> dspy.Prediction:
        return dspy.Prediction(strategies=[], lessons=[], behaviors=[])


def plant(path: Path, seed: int, share: float) -> set[str]:
    """Write the bank of a world; the ids of what is false in it."""
    world, rng, false = World.create(seed), random.Random(f"poison {seed}"), set[str]()

    def said(entry_id: str, operator: str, lie: bool) -> str:
        rule = world.meaning[operator]
        if lie:
            false.add(entry_id)
            rule = rng.choice([r for r in RULES if r != rule])
        return f"Use {operator} {rule}."

    def lies(count: int) -> list[bool]:
        wrong = round(share * count)
        return rng.sample([True] * wrong + [False] * (count - wrong), count)

    operators = list(world.meaning)
    behaviors = [
        Behavior(f"0/{op}", f"behavior_{op}", said(f"0/{op}", op, lie), "", 1, (), 0, 0)
        for op, lie in zip(operators, lies(len(operators)), strict=True)
    ]
    problems = world.problems(TRAIN, operators=2, part="train")
    about = [(p, op) for p in problems for op in dict.fromkeys(p.data["operators"])]
    insights: dict[str, list[Insight]] = {}
    for (problem, op), lie in zip(about, lies(len(about)), strict=True):
        entry_id = f"0/{problem.id}/{op}"
        text = said(entry_id, op, lie)
        insights.setdefault(problem.id, []).append(Insight(entry_id, problem.id, "strategy", text, 0.5, (), 0, 0))
    with Memory.ephemeral(HashingEmbedder()) as memory:
        memory.replace_behaviors(behaviors, 0)
        memory.rewrite_insights_P(insights)
        export_bank(memory, path)
    return false


def run(folder: Path, arm: str, seed: int, steps: int) -> dict[str, Any]:
    """One run: what was quarantined, and the accuracy at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    bank = folder / f"bank-{arm}-{seed}.jsonl"
    planted = plant(bank, seed, 0.0 if arm == "clean" else FALSE)
    act = arm != "off"
    overrides = {
        "name": f"{arm}-{seed}", "runs": folder / "runs", "seed": seed, "problems.seed": seed, "steps": steps,
        "problems.train": TRAIN, "problems.validation": 0, "problems.test": 50, "evaluate.every": 0, "checkpoint_every": 1000,
        "pipeline.every": 1000, "memory.bank": bank, "memory.tiers": "[insight,behavior]", "memory.siblings": "false",
        "memory.lift.leave_out": 0.5 if act else 0.0, "memory.lift.harmful": 2.0 if act else "null",
    }  # fmt: skip
    recipe = load_recipe(RECIPE, [f"{key}={value}" for key, value in overrides.items()])
    console = Console(io.StringIO(), io.StringIO())
    path = start(recipe, console=console, reflector=Silent(), generaliser=Silent())
    summary = json.loads((path / "summary.json").read_text())
    with Memory.open(path / "memory", HashingEmbedder()) as memory:
        standings = memory.standings()
        caught = set(standings.ids("quarantined"))
        measured = {name: standings.of(name) for name in standings.measured() if not name.startswith("tier:")}
    rules = {name for name in planted if name.count("/") == 1}
    return {
        "arm": arm, "seed": seed, "false": len(planted), "caught": len(caught), "right": len(caught & planted),
        "false_rules": len(rules), "right_rules": len(caught & rules), "caught_rules": sum(n.count("/") == 1 for n in caught),
        "right_false": mean([e.right.mean for name, e in measured.items() if name in planted]),
        "right_true": mean([e.right.mean for name, e in measured.items() if name not in planted]),
        "free": summary["final"]["free"], "base": summary["base"]["free"],
    }  # fmt: skip


def mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--arms", nargs="+", default=["on", "off", "clean"])
    given = parser.parse_args()
    rows = []
    for arm in given.arms:
        for number in range(given.seeds):
            rows.append(run(given.folder, arm, number, given.steps))
            print(json.dumps(rows[-1]), flush=True)
    on = [row for row in rows if row["arm"] == "on"]
    if on:
        right = sum(row["right"] for row in on)
        print(f"precision {right}/{sum(r['caught'] for r in on)}, recall {right}/{sum(r['false'] for r in on)}")
