"""Finished runs, read from their folders. Nothing here imports a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd_agent.errors import RunError
from pmd_agent.evaluation.scores import Outcome
from pmd_agent.recipe import Recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.read_lines import read_lines

MEASURED = ("base", "base_with_memory", "final", "final_with_memory")
ELSEWHERE = "elsewhere"
"""The folder of what was measured on other problems."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run stood at a validation."""

    rollouts: int
    seconds: float
    """Of training until then: all stages but evaluation."""
    free: float
    """avg@k on the validation problems, memory-free."""
    with_memory: float | None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a comparison needs of one run."""

    path: Path
    recipe: Recipe
    summary: Mapping[str, Any]
    outcomes: Mapping[str, tuple[Outcome, ...]]
    """base, final and, where it was measured, final_with_memory: one outcome a test problem."""
    elsewhere: Mapping[str, tuple[tuple[Outcome, ...], tuple[Outcome, ...]]]
    """Of other problems (`pmd evaluate RUN --on RECIPE`), by name: outcomes before the run, and after it."""
    curve: tuple[Point, ...]
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def seed(self) -> int:
        return self.recipe.seed

    @property
    def practised(self) -> bool:
        """Whether its test problems are those that it was trained on, with other tests."""
        return bool(getattr(self.recipe.problems, "same_problems", False))

    @property
    def seconds_a_step(self) -> float | None:
        """Of training; None without a step."""
        return sum(self.seconds.values()) / len(self.metrics) if self.metrics else None

    @property
    def seconds(self) -> dict[str, float]:
        """Of training, by stage."""
        return {k: float(v) for k, v in self.summary["seconds"].items() if k not in ("evaluate", "evaluation")}


def read_runs(paths: Sequence[str | Path], runs: Path = Path("runs")) -> tuple[list[FinishedRun], list[str]]:
    """(finished runs, names of unfinished ones) of run folders, their names, or folders that hold runs.

    Raises RunError where a path is neither, or nothing is finished.
    """
    folders = [folder for path in paths for folder in _folders(path, runs)]
    unfinished = [str(f) for f in folders if not (f / "summary.json").is_file()]
    finished = [read_run(f) for f in dict.fromkeys(folders) if (f / "summary.json").is_file()]
    if not finished:
        raise RunError(
            f"None of these runs is finished: {', '.join(unfinished)}.", "Go on with them: pmd run RECIPE --resume."
        )
    return finished, unfinished


def _folders(path: str | Path, runs: Path) -> list[Path]:
    for folder in (Path(path), runs / path):
        if folder.is_dir() and not (folder / "recipe.yaml").is_file():
            inside = sorted(p.parent for p in folder.glob("*/recipe.yaml"))
            if inside:
                return inside
    return [RunDir.open(path, runs).path]


def read_run(folder: Path) -> FinishedRun:
    """One run. Of one that is not finished, what there is. Raises RunError where its files cannot be read."""
    run = RunDir.open(folder)
    measured = folder / "evaluation"
    try:
        outcomes = {name: read for name in MEASURED if (read := outcomes_of(measured / f"{name}.jsonl"))}
        elsewhere = {
            path.stem: (outcomes_of(path / "base.jsonl"), outcomes_of(path / "final.jsonl"))
            for path in sorted((measured / ELSEWHERE).glob("*"))
        }
        metrics = tuple(run.metrics())
        return FinishedRun(
            folder,
            run.recipe,
            run.read_json("summary.json") or {},
            outcomes,
            elsewhere,
            tuple(_curve(metrics)),
            metrics,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder} is not as a run of this release: {type(error).__name__}: {error}.", "Run it again."
        ) from None


def outcomes_of(path: Path) -> tuple[Outcome, ...]:
    """A line a problem; nothing where there is no such file."""
    names = ("problem", "kind", "checked", "correct", "majority", "unchecked")
    return tuple(Outcome(*(row[name] for name in names)) for row in read_lines(path))


def _curve(metrics: Iterable[Mapping[str, Any]]) -> Iterable[Point]:
    rollouts, seconds = 0, 0.0
    for line in metrics:
        rollouts += line["rollouts"]
        seconds += sum(s for stage, s in line["stage_seconds"].items() if stage != "evaluate")
        if line.get("validation") is not None:
            yield Point(rollouts, seconds, line["validation"], line.get("validation_with_memory"))
