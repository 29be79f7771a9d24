"""The runs of a folder at a glance. Nothing is locked, and nothing heavy is imported."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pmd_agent.errors import PMDError, RunError
from pmd_agent.recipe import ScriptedPolicySection
from pmd_agent.runs.folder import RunDir


def overview(runs: Path) -> list[dict[str, Any]]:
    """One row a run, also below sweeps' folders, those written last first: plain data.

    `state` is finished, unfinished or damaged (then `why` says how); accuracies are in [0, 1], None where not measured,
    and `*_unchecked` the share of answers that they leave out, since these could not be checked.
    """
    folders = sorted({path.parent for pattern in ("*/recipe.yaml", "*/*/recipe.yaml") for path in runs.glob(pattern)})
    return sorted((_row(folder, runs) for folder in folders), key=lambda row: row["changed"], reverse=True)


def _row(folder: Path, runs: Path) -> dict[str, Any]:
    newest = max(p.stat().st_mtime for name in ("recipe.yaml", "state.json") if (p := folder / name).exists())
    row: dict[str, Any] = {
        "name": str(folder.relative_to(runs)),
        "changed": time.strftime("%F %T", time.localtime(newest)),
    }
    try:
        run = RunDir.open(folder)
        return row | {
            "state": "finished" if run.finished else "unfinished",
            "method": run.recipe.method,
            "model": "scripted" if isinstance(run.recipe.policy, ScriptedPolicySection) else run.recipe.policy.model,
            "step": run.next_step,
            "steps": (run.read_json("summary.json") or {}).get("steps") or run.recipe.steps,
            "base": _share(run, "base", "avg"),
            "final": _share(run, "final", "avg"),
            "base_unchecked": _share(run, "base", "unchecked_share") or 0.0,
            "final_unchecked": _share(run, "final", "unchecked_share") or 0.0,
        }
    except PMDError as error:
        return row | {"state": "damaged", "why": str(error)}


def _share(run: RunDir, name: str, key: str) -> float | None:
    """Of what was measured. Raises RunError where it is no number."""
    found = (run.read_json(f"evaluation/{name}.json") or {}).get(key)
    if found is not None and not isinstance(found, int | float):
        raise RunError(f"{run.path}/evaluation/{name}.json is damaged: {key} is {found!r}.", "Restore it from a copy.")
    return found
