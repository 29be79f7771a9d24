"""The same search for every arm: all combinations of its grid, on seeds that nothing is reported of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pmd_agent.runs.folder import RunDir
from pmd_agent.sweep.plan import Sweep, SweepRun, configurations, make_run, settings_of, tuned_arms


def tuning_runs(sweep: Sweep) -> list[tuple[str, dict[str, Any], list[SweepRun]]]:
    """(arm, configuration, its runs on the seeds `tune`). Raises RecipeError.

    They choose by validation, so the test problems are left alone, but for the one that a run cannot do without.
    """
    folder, alone = sweep.folder / "tuning", {"evaluate.max_problems": 1}
    return [
        (name, values, [
            make_run(sweep, name, seed, settings_of(sweep, name, {}) | values | alone, folder, f"{name}-{number}")
            for seed in sweep.seeds.tune
        ])
        for name, arm in tuned_arms(sweep)
        for number, values in enumerate(configurations(arm))
    ]  # fmt: skip


def choose(tried: Sequence[tuple[str, Mapping[str, Any], Sequence[SweepRun]]]) -> dict[str, Any]:
    """What to keep in tuned.yaml: for each arm the configuration whose last validations are best on average, and all that
    were tried. The first of equal ones. Test problems play no part."""
    arms: dict[str, Any] = {}
    for name, values, runs in tried:
        accuracy = float(np.mean([_last_validation(run) for run in runs]))
        entry = arms.setdefault(name, {"chosen": dict(values), "validation": accuracy, "tried": []})
        entry["tried"].append({"set": dict(values), "validation": round(accuracy, 4), "seeds": [r.seed for r in runs]})
        if accuracy > entry["validation"]:
            entry |= {"chosen": dict(values), "validation": accuracy}
    return {name: entry | {"validation": round(entry["validation"], 4)} for name, entry in arms.items()}


def _last_validation(run: SweepRun) -> float:
    lines = [line["validation"] for line in RunDir.open(run.path).metrics() if line.get("validation") is not None]
    return float(lines[-1]) if lines else 0.0


def is_of(plan: Sweep, tuned: Mapping[str, Any]) -> bool:
    """Whether what tuned.yaml holds was chosen from the grids, and on the seeds, that the sweep has now."""
    grids = {name: configurations(arm) for name, arm in plan.arms.items() if arm.tune}
    try:
        tried = {
            name: [each["set"] for each in entry["tried"] if each["seeds"] == list(plan.seeds.tune)]
            for name, entry in tuned.items()
        }
    except (KeyError, TypeError):
        return False
    return tried == {name: [dict(values) for values in grid] for name, grid in grids.items()}
