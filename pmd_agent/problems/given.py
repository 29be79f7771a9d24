"""Problems that a Python program gives as objects: Problems as they are, or rows as those of a file.

They are data, so a run's folder keeps them: problems.jsonl, a line a problem, each with its split. What is kept is what is used
from the first step on, so that a run that another process goes on with is the same run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from pmd_agent.arguments import kind_of
from pmd_agent.errors import ProblemError
from pmd_agent.problems.custom_rows import Fields, problem_of
from pmd_agent.problems.function import check_problems
from pmd_agent.problems.instructions import instructions
from pmd_agent.problems.parse_rows import Gatherer
from pmd_agent.problems.sets import ProblemSets, divided
from pmd_agent.problems.sources import Row
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.recipe.problems import GivenProblems
from pmd_agent.runs.files import to_json
from pmd_agent.types import Problem

Item = Problem | Mapping[str, Any]
"""A problem, or a row: prompt, answer, and where it has them id, system, kind, choices; all else goes into its data."""
SPLITS = ("train", "validation", "test")


def given_problems(
    train: Iterable[Item], test: Iterable[Item] | None, validation: Iterable[Item] | None, section: GivenProblems
) -> ProblemSets:
    """Problems as given, rows as of a file; what is not given of test and validation is held out. Raises ProblemError."""
    given = {
        "train": items_of(train, "problems"),
        "test": items_of(test or (), "test"),
        "validation": items_of(validation or (), "validation"),
    }
    sets = {name: problems_from(items, name, section.verifier) for name, items in given.items()}
    check_problems("What is given", [list(sets[name]) for name in ("train", "validation", "test")])
    kept, held = (
        (sets["train"], sets["test"])
        if test is not None
        else hold_out(sets["train"], section.test_fraction, section.seed)
    )
    split = Split(kept, held, validation=None if validation is None else sets["validation"])
    rows = as_rows(divided(split, section))
    return _sets(json.loads(to_json(row)) for row in rows)


def items_of(given: Any, what: str) -> list[Item]:
    """The items of a list, or of anything else that gives them one by one. Raises ProblemError for what is no list of problems."""
    if isinstance(given, str | Path):
        raise ProblemError(
            f"{what} is a {'path' if isinstance(given, Path) else 'str'} ({str(given)!r:.60}), and no list of problems.",
            "A file is named in the recipe: overrides=['problems.type=file', 'problems.path=FILE'].",
        )
    if isinstance(given, bytes | Mapping | Problem) or not isinstance(given, Iterable):
        raise ProblemError(
            f"{what} is {kind_of(given)}, and no list of problems.",
            f"Give a list of Problems, or of rows: {what}=[{{'prompt': ..., 'answer': ...}}, ...].",
        )
    return list(given)


def _plain(value: Any) -> Any:
    """What numpy or pandas wrap, as Python's own."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


def problems_from(items: Sequence[Item], split: str, verifier: str) -> tuple[Problem, ...]:
    """Problems as they are. A row without a system message gets the verifier's own, which says what format it reads."""
    rows = [Row(f"{split}[{i}]", _plain(item), i + 1) for i, item in enumerate(items) if not isinstance(item, Problem)]
    named = any(isinstance(row.value, Mapping) and row.value.get("id") not in (None, "") for row in rows)
    fields = (
        Fields() if any(isinstance(r.value, Mapping) and "answer" in r.value for r in rows) else Fields(answer=None)
    )
    gatherer = Gatherer(f"what is given as {split}")
    made = gatherer.gather(rows, partial(problem_of, fields=fields, prefix="" if named else split))
    if rows:
        gatherer.finish()
    left = iter(p if p.system else replace(p, system=instructions(verifier, p)) for p in made)
    return tuple(item if isinstance(item, Problem) else next(left) for item in items)


def as_rows(sets: ProblemSets) -> list[dict[str, Any]]:
    """As problems.jsonl holds them. Raises ProblemError where a problem's data has no form in JSON."""
    rows = []
    for name in SPLITS:
        for problem in getattr(sets, name):
            try:
                to_json(problem.data)
            except (TypeError, ValueError) as error:
                raise ProblemError(
                    f"The data of {problem.id!r} cannot be kept in the run's folder: {error}.",
                    "Keep plain values in it, and look the rest up by the problem's id in the verifier.",
                ) from None
            rows.append({"split": name, **asdict(problem)})
    return rows


def read_given(path: Path) -> ProblemSets:
    """What a run's folder holds. Raises ProblemError where that is missing or damaged."""
    if not path.is_file():
        raise ProblemError(
            f"There is no {path}: this run's problems were given as objects in Python.",
            "Restore it from a copy, or start another run.",
        )
    try:
        return _sets(json.loads(line) for line in path.read_bytes().split(b"\n") if line)
    except (ValueError, KeyError, TypeError) as error:
        raise ProblemError(f"{path} is damaged: {error}.", "Restore it from a copy.") from None


def _sets(rows: Iterable[Mapping[str, Any]]) -> ProblemSets:
    found: dict[str, list[Problem]] = {name: [] for name in SPLITS}
    for row in rows:
        found[row["split"]].append(Problem(**{name: value for name, value in row.items() if name != "split"}))
    train, validation, test = (tuple(found[name]) for name in SPLITS)
    return ProblemSets(train, validation, test)
