"""Planted falsehoods, and whether the loop finds them: the policy in the box, its world, and a bank of which 30 % is false.

    python -m tests.benchmarks.poison FOLDER --seeds 3 --steps 32     prints a line a run, and precision and recall

Four runs a seed: the poisoned bank (`on`), the same without what is false in it (`removed`), and one in which that is true
instead (`clean`), each memory on trial, and read by `--untried` of the teachers meanwhile; and the poisoned bank without any measuring (`off`). `clean_off` is
the clean one without. The bank has a rule for each operator and a strategy for each operator of each training problem. Nothing new is reflected, so
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

from pmd_agent.assembly.start import start
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


def plant(path: Path, seed: int, share: float, *, remove: bool = False) -> set[str]:
    """Write the bank of a world, with or without what is false in it; the ids of the false."""
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
    problems = world.problems(TRAIN, operators=2, split="train")
    about = [(p, op) for p in problems for op in dict.fromkeys(p.data["operators"])]
    insights: dict[str, list[Insight]] = {}
    for (problem, op), lie in zip(about, lies(len(about)), strict=True):
        entry_id = f"0/{problem.id}/{op}"
        text = said(entry_id, op, lie)
        insights.setdefault(problem.id, []).append(Insight(entry_id, problem.id, "strategy", text, 0.5, (), 0, 0))
    if remove:
        behaviors = [b for b in behaviors if b.id not in false]
        insights = {p: [i for i in of if i.id not in false] for p, of in insights.items()}
    with Memory.ephemeral(HashingEmbedder()) as memory:
        memory.replace_behaviors(behaviors, 0)
        memory.rewrite_insights_P(insights)
        export_bank(memory, path)
    return false


def run(folder: Path, arm: str, seed: int, steps: int, untried: float = 0.5) -> dict[str, Any]:
    """One run: what was quarantined, and the accuracy at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    bank = folder / f"bank-{arm}-{seed}.jsonl"
    planted = plant(bank, seed, 0.0 if arm.startswith("clean") else FALSE, remove=arm == "removed")
    trial = arm in ("on", "clean", "removed")
    overrides = {
        "name": f"{arm}-{seed}", "runs": folder / "runs", "seed": seed, "problems.seed": seed, "steps": steps,
        "problems.train": TRAIN, "problems.validation": 0, "problems.test": 50, "evaluate.every": 0, "evaluate.with_memory": "false", "checkpoint_every": 1000,
        "pipeline.every": 1000, "memory.bank": bank, "memory.tiers": "[insight,behavior]", "memory.siblings": "false",
        "memory.lift.trial": 4 if trial else 0,
        "memory.lift.untried": untried if trial else 0.0,
    }  # fmt: skip
    recipe = load_recipe(RECIPE, [f"{key}={value}" for key, value in overrides.items()])
    console = Console(io.StringIO(), io.StringIO())
    path = start(recipe, console=console, reflector=Silent(), generaliser=Silent())
    summary = json.loads((path / "summary.json").read_text())
    with Memory.open(path / "memory", HashingEmbedder()) as memory:
        effects = memory.effects()
        caught = set(effects.ids("quarantined"))
        waiting = set(effects.ids("trial"))
        states = {step: record.get("states", {}) for step, record in memory._store.ledger.records.items() if step >= 0}
    rules = {name for name in planted if name.count("/") == 1}
    by_step = []  # of each eighth step: quarantined, of them false, still on trial, of them false
    now = dict.fromkeys(waiting | {name for changed in states.values() for name in changed}, "trial")
    for step, changed in states.items():
        now |= {name: state for name, (state, _) in changed.items()}
        if (step + 1) % 8 == 0:
            away = [{name for name, found in now.items() if found == state} for state in ("quarantined", "trial")]
            by_step.append([n for names in away for n in (len(names), len(names & planted))])
    return {
        "arm": arm, "seed": seed, "false": len(planted), "caught": len(caught), "right": len(caught & planted),
        "false_rules": len(rules), "right_rules": len(caught & rules), "caught_rules": sum(n.count("/") == 1 for n in caught),
        "waiting": len(waiting), "waiting_false": len(waiting & planted), "by_step": by_step,
        "taught_false": sum(effects.state(name) == "live" for name in planted) if planted and arm != "removed" else 0,
        "free": summary["final"]["free"], "base": summary["base"]["free"],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--first", type=int, default=0, help="number of the first world")
    parser.add_argument("--arms", nargs="+", default=["on", "removed", "clean", "off"])
    parser.add_argument("--untried", type=float, default=0.5, help="how often teachers read what is on trial")
    given = parser.parse_args()
    rows = []
    for arm in given.arms:
        for number in range(given.first, given.first + given.seeds):
            rows.append(run(given.folder, arm, number, given.steps, given.untried))
            print(json.dumps(rows[-1]), flush=True)
    if here := [row for row in rows if row["arm"] == "on"]:
        right, caught, false = (sum(row[name] for row in here) for name in ("right", "caught", "false"))
        print(f"on: precision {right}/{caught}, recall {right}/{false}")
