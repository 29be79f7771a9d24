"""MBPP, and what has its schema: a sentence, and asserts that call the function which it asks for.

Fields: task_id, text (or prompt), test_list, and code, of which nothing but the names that it defines is read; test_setup_code or
test_imports, and challenge_test_list, where they are there.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import Any

from pmd_agent.problems.instructions import FUNCTION
from pmd_agent.problems.parse_rows import BadRow, check_text, optional_text_of, text_of
from pmd_agent.problems.row_filters import Where
from pmd_agent.problems.sources import describe_type
from pmd_agent.problems.split import Split
from pmd_agent.problems.train_test import Build, RowSet, Rule, open_row_sets, train_and_test
from pmd_agent.types import Problem

HUB = "google-research-datasets/mbpp"


def load(
    path: Path | None,
    *,
    test_path: Path | None = None,
    hub: str = HUB,
    subset: str | None = "full",
    split: str = "train",
    test_split: str | None = "test",
    shown: int = 1,
    where: Where | None = None,
    test_fraction: float = 0.5,
    seed: int = 0,
    max_bad_fraction: float = 0.02,
) -> Split:
    """The problems of a file or folder, or of a dataset on the hub (see `open_row_sets`). Raises ProblemError."""
    source, row_sets = open_row_sets(
        path, test_path=test_path, hub=hub, subset=subset, split=split, test_split=test_split
    )  # fmt: skip
    rule = Rule(where or {}, None, test_fraction, seed, max_bad_fraction)
    return train_and_test(source, row_sets, partial(_build, shown), rule)


def _build(shown: int, row_set: RowSet) -> Build:
    return partial(_problem, shown=shown)


def _problem(row: Mapping[str, Any], number: int, *, shown: int) -> Problem:
    question = text_of(row, "text" if "text" in row else "prompt")
    tests = [*_texts(row, "test_list"), *_optional_texts(row, "challenge_test_list")]
    setup = "\n".join([optional_text_of(row, "test_setup_code"), *_optional_texts(row, "test_imports")])
    for count, test in enumerate(tests, start=1):
        if not any(isinstance(node, ast.Assert) for node in _parsed(test, f"test {count}").body):
            raise BadRow(f"test {count} is no assert")
    # On one line each: a text over several lines must not be indented.
    body = "\n".join(ast.unparse(_parsed(test, "test_list")) for test in tests)
    check = f"{setup}\ndef check(candidate):\n{indent(body, '    ')}\n"
    defined = _defined(text_of(row, "code"))
    own = list(dict.fromkeys(name for name in _called(check) if name in defined))
    if not own:
        raise BadRow("its tests call nothing that 'code' defines")
    if len(own) > 1:
        raise BadRow(f"its tests use {' and '.join(own)} of the solution: only one function of it can be called")
    (entry,) = own
    read = "\n".join(tests[:shown])
    return Problem(
        id=f"mbpp/{_task(row)}",
        prompt=f"{question.strip()}\n\nIt has to pass this test:\n\n```python\n{read}\n```",
        system=FUNCTION,
        data={"prompt": "", "check": check, "entry": entry},
    )


def _task(row: Mapping[str, Any]) -> str:
    value = row.get("task_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(row, "task_id")


def _optional_texts(row: Mapping[str, Any], field: str) -> list[str]:
    return _texts(row, field) if row.get(field) else []


def _texts(row: Mapping[str, Any], field: str) -> list[str]:
    value = row.get(field)
    if value == []:
        raise BadRow(f"{field!r} is empty")
    if not isinstance(value, list):
        raise BadRow(
            f"no {field!r}" if value is None else f"{field!r} is {describe_type(value)} instead of a list of texts"
        )
    for text in value:
        if not isinstance(text, str) or not text.strip():
            raise BadRow(f"{field!r} holds {'an empty text' if isinstance(text, str) else describe_type(text)}")
        check_text(text, field)
    return [text.strip() for text in value]


def _called(code: str) -> list[str]:
    """Names that are called."""
    calls = [node.func for node in ast.walk(_parsed(code, "test_setup_code")) if isinstance(node, ast.Call)]
    return [call.id for call in calls if isinstance(call, ast.Name)]


def _defined(code: str) -> set[str]:
    return {n.name for n in _parsed(code, "code").body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def _parsed(code: str, name: str) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes such as \w, which Python takes as they are
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadRow(f"{name!r} is not Python: {error}") from None
