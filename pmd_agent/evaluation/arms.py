"""Runs of one arm: recipes that are the same but for seeds and names."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

import numpy as np

from pmd_agent.errors import RunError
from pmd_agent.evaluation.finished_runs import FinishedRun
from pmd_agent.evaluation.intervals import Scores
from pmd_agent.evaluation.scores import Outcome, avg_as_wrong, pass_at_k, unchecked_share
from pmd_agent.recipe import Recipe

OFF = 2.0
"""A run whose steps take so many times longer than those of its arm, or so many times less, is named."""
MADE_UP = ("world", "house_rules")
"""Problems whose seed is a world of its own, and so one of the seeds of an arm."""
BASE = "base"
"""The policy before the first step: no arm of its own, since every run measures it."""


@dataclass(frozen=True, slots=True)
class Arm:
    """The runs of one recipe, one a seed."""

    name: str
    runs: tuple[FinishedRun, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    def scores(self, measured: str = "final", metric: str = "avg", kind: str | None = None) -> Scores:
        """Seed -> test problem -> avg@k, pass@k or maj@k. Seeds at which that was not measured are left out.

        Problems of which no rollout could be checked are left out, as in a run's own figures; so are, for maj@k, those
        whose answers cannot be compared.
        """
        scores = {}
        for run in self.runs:
            rows = {
                o.problem_id: found
                for o in run.outcomes.get(measured, ())
                if o.checked and (kind is None or o.kind == kind) and (found := _score(o, metric)) is not None
            }
            if rows:
                scores[run.seed] = rows
        return scores

    def unchecked(self, measured: str = "final") -> float:
        """Share of the answers that could not be checked, over all seeds; they are in no score."""
        return unchecked_share([o for run in self.runs for o in run.outcomes.get(measured, ())])

    def as_wrong(self, measured: str = "final") -> float | None:
        """Mean over seeds of avg@k if these were wrong."""
        found = [avg_as_wrong(run.outcomes.get(measured, ())) for run in self.runs]
        values = [value for value in found if value is not None]
        return float(np.mean(values)) if values else None

    def kinds(self) -> tuple[str, ...]:
        """Of the test problems, in the alphabet's order; empty where there is but one."""
        kinds = sorted({o.kind for run in self.runs for o in run.outcomes.get("final", ()) if o.kind})
        return tuple(kinds) if len(kinds) > 1 else ()

    def mean(self, key: str) -> float | None:
        """Of a figure of summary.json, over the runs that have it."""
        values = [run.summary[key] for run in self.runs if run.summary.get(key) is not None]
        return float(np.mean(values)) if values else None

    def gauge(self, key: str) -> float | None:
        """Of a figure of the steps, over the last quarter of each run's."""
        values = [
            line[key]
            for run in self.runs
            for line in run.metrics[-max(1, len(run.metrics) // 4) :]
            if line.get(key) is not None
        ]
        return float(np.mean(values)) if values else None

    def stage_seconds(self) -> dict[str, float]:
        """Of training, by stage: the mean of a run."""
        total: Counter[str] = Counter()
        for run in self.runs:
            total.update(run.seconds)
        return {stage: seconds / len(self.runs) for stage, seconds in total.items()}

    @property
    def seconds(self) -> float:
        """Of training: the mean of a run."""
        return sum(self.stage_seconds().values())

    def out_of_time(self) -> list[tuple[FinishedRun, float, float]]:
        """Runs whose seconds a step are off the arm's median by more than `OFF`: (run, its seconds, the median).

        Of two runs the quicker one is the median: a machine that is busy elsewhere slows, and nothing quickens it.
        """
        taken = [(run, seconds) for run in self.runs if (seconds := run.seconds_a_step) is not None]
        if not taken:
            return []
        median = median_low(seconds for _, seconds in taken)
        return [(run, seconds, median) for run, seconds in taken if not median / OFF <= seconds <= median * OFF]

    @property
    def rollouts(self) -> float:
        return float(np.mean([run.summary["rollouts"] for run in self.runs]))


def group_by_arm(runs: Sequence[FinishedRun]) -> list[Arm]:
    """Arms in the order in which their first runs were given. Raises RunError where an arm has a seed twice."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(repr(_without_seeds(run.recipe)), []).append(run)
    arms: list[Arm] = []
    for members in groups.values():
        arm = Arm(_free_name(_common_name([r.recipe.name for r in members]), arms), tuple(sorted(members, key=_seed)))
        twice = [seed for seed, times in Counter(arm.seeds).items() if times > 1]
        if twice:
            paths = ", ".join(str(r.path) for r in arm.runs if r.seed == twice[0])
            raise RunError(f"These runs have the same recipe and the same seed: {paths}.", "Leave all but one out.")
        arms.append(arm)
    return arms


def find_arm(arms: Iterable[Arm], name: str) -> Arm:
    """The arm of that name. Raises RunError that names those there are."""
    names = []
    for arm in arms:
        if arm.name == name:
            return arm
        names.append(arm.name)
    raise RunError(f"There is no arm {name!r}.", f"There are {', '.join(names)}.")


def _without_seeds(recipe: Recipe) -> Mapping[str, Any]:
    data = recipe.model_dump(mode="json")
    problems = {k: v for k, v in data["problems"].items() if k != "seed" or data["problems"]["type"] not in MADE_UP}
    return {k: v for k, v in data.items() if k not in ("name", "runs", "seed", "problems")} | {"problems": problems}


def _common_name(names: Sequence[str]) -> str:
    """What the names begin with, without the number at the end: sdpo-1 and sdpo-2 are sdpo."""
    shared = [
        letters[0] for letters in itertools.takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))
    ]
    return re.sub(r"[-_.]?\d*$", "", "".join(shared)) or names[0]


def _free_name(name: str, arms: Sequence[Arm]) -> str:
    taken, number, free = {arm.name for arm in arms} | {BASE}, 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _seed(run: FinishedRun) -> int:
    return run.seed


def _score(outcome: Outcome, metric: str) -> float | None:
    if metric == "maj":
        return None if outcome.majority is None else float(outcome.majority)
    if metric == "pass":
        return pass_at_k(outcome.checked, outcome.correct, outcome.checked)
    return outcome.correct / outcome.checked
