"""Problems made by a Python function of the user's own, named `package.module:function`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.plugins import import_plugin
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.types import Problem


def load_function(function: str, *, test_fraction: float = 0.1, seed: int = 42) -> Split:
    """Calls `function`, named as package.module:function, without arguments; modules in the working directory are found too.

    It returns Problems (then `test_fraction` of every kind is held out), a pair (train, test) of them, or a Split.
    ProblemError if it cannot be imported, fails, or returns anything else.
    """
    name, call = function, _resolve(function)
    try:
        made = call()
        if isinstance(made, Split):
            parts: list[Any] = [made.train, made.test]
        else:
            parts = list(made) if _is_pair(made) else [made]
        # Inside the try: a generator runs the user's code only now.
        parts = [list(part) if _is_many(part) else part for part in parts]
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}:{frame.lineno}"
        raise ProblemError(f"{name} failed at {place}: {type(error).__name__}: {error}") from error
    check_problems(name, parts)
    train, test = parts if len(parts) == 2 else hold_out(parts[0], test_fraction, seed)
    if isinstance(made, Split):
        return replace(made, train=tuple(train), test=tuple(test))
    return Split(tuple(train), tuple(test))


def _is_pair(made: object) -> bool:
    """A pair of sequences, not a sequence of two problems."""
    return isinstance(made, tuple) and len(made) == 2 and not any(isinstance(part, Problem) for part in made)


def _is_many(part: object) -> bool:
    return isinstance(part, Iterable) and not isinstance(part, str | bytes | Mapping)


def check_problems(name: str, parts: list[Any]) -> None:
    """ProblemError where one of the parts is no list of Problems with prompts, and ids of their own."""
    for part in parts:
        if not isinstance(part, list):
            raise ProblemError(
                f"{name} returned a {type(part).__name__} instead of problems.",
                "Return a list of pmd_agent.types.Problem, or two: (train, test).",
            )
    problems = [problem for part in parts for problem in part]
    if not parts[0]:
        raise ProblemError(f"{name} returned no problem to train on.")
    seen: set[str] = set()
    for number, problem in enumerate(problems, start=1):
        if not isinstance(problem, Problem):
            raise ProblemError(
                f"{name}: item {number} is a {type(problem).__name__} instead of a Problem.",
                "Return pmd_agent.types.Problem(id=..., prompt=..., answer=...).",
            )
        if not isinstance(problem.prompt, str) or not problem.prompt.strip():
            raise ProblemError(f"{name}: the prompt of item {number} ({problem.id!r}) is empty or not a string.")
        if not isinstance(problem.id, str) or not problem.id:
            raise ProblemError(f"{name}: the id of item {number} is empty or not a string.")
        if problem.id in seen:
            raise ProblemError(f"{name}: the id {problem.id!r} is there twice.", "Ids are unique over train and test.")
        seen.add(problem.id)


def _resolve(name: str) -> Callable[[], Any]:
    function = import_plugin(name, "function", ProblemError)
    if not callable(function):
        raise ProblemError(f"{name} is a {type(function).__name__}, not a function.")
    return function  # type: ignore[no-any-return]
