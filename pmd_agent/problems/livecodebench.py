"""LiveCodeBench (code generation): contest problems, some solved by a script, some by a method.

Rows are in the schema of livecodebench/code_generation_lite, one JSONL file a release: test6.jsonl has what version 6 added,
from January 2025 on. The problems are the same in training and in test: training sees a random half of each problem's
tests, the score is over all of them. So ids are in both parts, and a test's problem says of each test whether it is hidden.

    row -> inside the dates? -> tests decoded and checked -> Problem with all tests -> its twin with half of them
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pmd_agent.errors import ProblemError
from pmd_agent.problems.code_tests import Test, Tests, checked_test, read_tests
from pmd_agent.problems.parse_rows import BadRow, Gatherer, optional_text_of, text_of
from pmd_agent.problems.sources import Row, describe_type, hub_file, stream
from pmd_agent.problems.split import Split
from pmd_agent.types import Problem

HUB = "livecodebench/code_generation_lite"
FILES = ("test6.jsonl",)
_SUFFIXES = (".jsonl", ".json", ".parquet")

SYSTEM = (
    "You will be given a programming problem. Solve it with a Python program that is correct for every valid input and "
    "fast enough for the largest. Use the standard library only. Think first; then give the whole program in a single "
    "```python block."
)
_SCRIPT = "Read the input from stdin and print the output to stdout, exactly in the format described."
_METHOD = "Complete this code. Keep the names, and return the result:"


def load(
    path: Path | None,
    *,
    hub: str = HUB,
    files: Sequence[str] = FILES,
    start: date | None = None,
    end: date | None = None,
    kind: Literal["difficulty", "platform"] = "difficulty",
    seed: int = 0,
    max_bad_fraction: float = 0.0,
) -> Split:
    """The problems whose contest was from `start` to `end`, both days included (None: no bound).

    `path`: a file, a folder with such files, or None for `files` of the dataset `hub`. `seed` decides, with the problem's id,
    which half of its tests is trained on. ProblemError for anything missing, and for more than `max_bad_fraction` of the
    rows not fitting.
    """
    source = hub if path is None else str(path)
    counts = {"rows": 0}
    rows = _inside(chain.from_iterable(map(stream, _files(path, hub, files))), start, end, counts)
    gatherer = Gatherer(source, max_bad_fraction)
    whole = gatherer.gather(rows, partial(_problem, kind=kind))
    if not gatherer.total and counts["rows"]:
        raise ProblemError(
            f"None of the {counts['rows']} problems of {source} is of a contest from {start or 'the first'} to "
            f"{end or 'the last'}.",
            "Widen problems.start and problems.end, or name more of problems.files.",
        )
    skipped = gatherer.finish()
    twins = [_twins(problem, seed) for problem in whole]
    return Split(tuple(half for half, _ in twins), tuple(full for _, full in twins), skipped, same_problems=True)


def _files(path: Path | None, hub: str, files: Sequence[str]) -> list[Path]:
    if path is None:
        return [hub_file(hub, name) for name in files]
    path = Path(path).expanduser()
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES)
    if not found:
        raise ProblemError(f"{path} holds no rows.", f"Give a folder with files of {', '.join(_SUFFIXES)}.")
    return found


def _inside(rows: Iterable[Row], start: date | None, end: date | None, counts: dict[str, int]) -> Iterator[Row]:
    """Rows within the dates; also those whose date cannot be told, to be reported as bad."""
    for row in rows:
        counts["rows"] += 1
        try:
            day = _day(row.value) if start or end else None
        except BadRow:
            day = None
        if day is None or ((start is None or start <= day) and (end is None or day <= end)):
            yield row


def _day(row: Any) -> date:
    value = row.get("contest_date") if isinstance(row, Mapping) else None
    if isinstance(value, datetime):
        return value.date()
    if not isinstance(value, str):
        raise BadRow("no 'contest_date'" if value is None else f"'contest_date' is {describe_type(value)}")
    try:
        return datetime.fromisoformat(value).date()
    except ValueError:
        raise BadRow(f"'contest_date' is {value!r}: not a date such as 2025-02-01T00:00:00") from None


def _problem(row: Mapping[str, Any], number: int, *, kind: str) -> Problem:
    _day(row)
    tests = [
        checked_test(test, field, count)
        for field in ("public_test_cases", "private_test_cases")
        for count, test in enumerate(read_tests(row.get(field), field), start=1)
    ]
    if not tests:
        raise BadRow("neither 'public_test_cases' nor 'private_test_cases' holds a test")
    types = {test["testtype"] for test in tests}
    if len(types) > 1:
        raise BadRow("some tests are of type stdin, some functional")
    entry = _entry(row, tests) if types == {"functional"} else None
    data: dict[str, Any] = {"tests": Tests(tests)}
    if entry is not None:
        data["entry"] = entry
    return Problem(
        id=f"livecodebench/{text_of(row, 'question_id')}",
        prompt=render(text_of(row, "question_content"), optional_text_of(row, "starter_code"), script=entry is None),
        system=SYSTEM,
        kind=text_of(row, kind),
        data=data,
    )


def render(question: str, starter_code: str, *, script: bool) -> str:
    """What the student reads. `script`: the program reads stdin, instead of being called."""
    asked = _SCRIPT if script else _METHOD
    if starter_code.strip():
        asked = f"{_SCRIPT if script else _METHOD}\n\n```python\n{starter_code.strip()}\n```"
    return f"{question.strip()}\n\n{asked}"


def _entry(row: Mapping[str, Any], tests: Sequence[Test]) -> str:
    """The name of the method that functional tests call."""
    try:
        metadata = json.loads(optional_text_of(row, "metadata", "{}"))
    except ValueError:
        raise BadRow("'metadata' is not JSON") from None
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name.isidentifier():
        raise BadRow("its tests are functional, but 'metadata' has no 'func_name'")
    return name


def _twins(problem: Problem, seed: int) -> tuple[Problem, Problem]:
    """The problem as it is trained on, with half of its tests, and as it is scored, with all."""
    tests: Tests = problem.data["tests"]
    half = tests.half(f"{seed}/{problem.id}")
    return (
        replace(problem, data={**problem.data, "tests": half}),
        replace(problem, data={**problem.data, "tests": tests.showing(half)}),
    )
