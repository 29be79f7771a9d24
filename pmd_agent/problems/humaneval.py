"""HumanEval, and what has its schema: the head of a function, and Python code that checks it.

Fields: task_id, prompt (imports, helpers, the head with its docstring), entry_point, test (defines check(candidate)), and
canonical_solution, which is not read.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmd_agent.problems.parse_rows import BadRow, Gatherer, text_of
from pmd_agent.problems.sources import load_hub, placed, read
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.types import Problem

HUB = "openai/openai_humaneval"
SYSTEM = (
    "You will be given the head of a Python function. Complete it so that it does what its docstring says. Use the standard "
    "library only. Think first; then give the whole function, with what it needs, in a single ```python block."
)


def load(
    path: Path | None,
    *,
    hub: str = HUB,
    test_fraction: float = 0.5,
    seed: int = 0,
    max_bad_fraction: float = 0.0,
) -> Split:
    """The problems of a file, or (None) of a dataset on the hub; `test_fraction` of them is held out.

    ProblemError for anything missing, and for more than `max_bad_fraction` of the rows not fitting.
    """
    rows = placed(hub, load_hub(hub, split="test")) if path is None else read(path)
    gatherer = Gatherer(hub if path is None else str(path), max_bad_fraction)
    problems = gatherer.gather(rows, _problem)
    skipped = gatherer.finish()
    train, test = hold_out(problems, test_fraction, seed)
    return Split(train, test, skipped)


def _problem(row: Mapping[str, Any], number: int) -> Problem:
    prompt, test, entry = text_of(row, "prompt"), text_of(row, "test"), text_of(row, "entry_point")
    if entry not in _functions(prompt, "prompt"):
        raise BadRow(f"'prompt' defines no function {entry!r}, which 'entry_point' names")
    if "check" not in _functions(test, "test"):
        raise BadRow("'test' defines no function 'check'")
    return Problem(
        id=f"humaneval/{text_of(row, 'task_id').removeprefix('HumanEval/')}",
        prompt=f"Complete this function.\n\n```python\n{prompt.strip()}\n```",
        system=SYSTEM,
        data={"prompt": prompt, "check": test, "entry": entry},
    )


def _functions(code: str, field: str) -> set[str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes such as \w, which Python takes as they are
            body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadRow(f"{field!r} is not Python: {error}") from None
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}
