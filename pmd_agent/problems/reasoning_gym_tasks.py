"""Tasks of the package reasoning-gym: made by program, without end, each with a scorer of its own.

A task's name and settings, a seed and a place decide an item, so that a resumed run has the same ones. reasoning-gym is imported
where it is used: it takes seconds, and is an extra.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.instructions import EXACT
from pmd_agent.problems.split import Split
from pmd_agent.types import Problem

TRIES = 4
"""Items looked at for each that is wanted: small tasks ask the same again."""


def load(
    *,
    tasks: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    seed: int,
    train: int,
    validation: int,
    test: int,
) -> Split:
    """So many items of each task; no question is there twice. Raises ProblemError."""
    found: dict[str, list[Problem]] = {"train": [], "validation": [], "test": []}
    sizes = {"train": train, "validation": validation, "test": test}
    if unused := sorted(settings.keys() - set(tasks)):
        raise ProblemError(
            f"problems.settings names {unused[0]}, which is none of problems.tasks.", "Add it, or leave it out."
        )
    for task in tasks:
        items = iter(_distinct(task, settings.get(task, {}), seed, sum(sizes.values())))
        for split, size in sizes.items():
            found[split] += [replace(next(items), id=f"{task}/{seed}/{split}/{n:04d}") for n in range(size)]
    return Split(tuple(found["train"]), tuple(found["test"]), validation=tuple(found["validation"]))


def _distinct(task: str, settings: Mapping[str, Any], seed: int, count: int) -> list[Problem]:
    dataset = dataset_of(task, settings, seed, TRIES * count)
    found: dict[str, Problem] = {}
    try:
        for n in range(TRIES * count):
            entry = dataset[n]
            found.setdefault(entry["question"], _problem(task, entry))
            if len(found) == count:
                return list(found.values())
    except Exception as error:  # a generator is somebody's program
        reason = f"{type(error).__name__}: {error}"
        raise ProblemError(f"{task} made no item: {reason}", "Mend problems.settings, or leave it out.") from error
    raise ProblemError(
        f"{task} has {len(found)} different questions among {TRIES * count}, and {count} are wanted.",
        "Lower problems.train, validation or test, or make it larger by problems.settings.",
    )


def _problem(task: str, entry: Mapping[str, Any]) -> Problem:
    answer = entry["answer"]
    return Problem(
        "",
        entry["question"],
        None if answer is None else str(answer),
        EXACT,
        task,
        data={"task": task, "entry": dict(entry)},
    )


def dataset_of(task: str, settings: Mapping[str, Any], seed: int, size: int) -> Any:
    """A task of the package. Raises ProblemError where there is no such task or package, or a setting does not fit."""
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise ProblemError(
            f"problems.type=reasoning_gym needs the package reasoning-gym ({error}).",
            "pip install 'pmd-agent[reasoning-gym]'",
        ) from error
    if task not in DATASETS:
        close = difflib.get_close_matches(task, DATASETS, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"It has: {', '.join(DATASETS)}."
        raise ProblemError(f"reasoning-gym has no task {task!r}.", hint)
    try:
        return reasoning_gym.create_dataset(task, **{"seed": seed, "size": size} | dict(settings))
    except Exception as error:
        raise ProblemError(f"{task} takes no such settings: {error}", "Mend problems.settings.") from error
