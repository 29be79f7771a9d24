from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import Split, load_function

_names = itertools.count()
HEAD = """from pmd_agent.types import Problem
from pmd_agent.problems import Split
P = [Problem(str(i), '?') for i in range(10)]
"""
Make = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """module(body) -> the name of a new module in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])

    def make(body: str) -> str:
        name = f"user_problems_{next(_names)}"
        (tmp_path / f"{name}.py").write_text(HEAD + body)
        return name

    return make


@pytest.mark.parametrize(
    ("result", "sizes"),
    [
        ("P", (9, 1)),
        ("tuple(P)", (9, 1)),
        ("(p for p in P)", (9, 1)),
        ("(P[:7], P[7:])", (7, 3)),
        ("(iter(P[:7]), ())", (7, 0)),
        ("Split(tuple(P[:6]), tuple(P[6:]), ('a.jsonl:1: bad',))", (6, 4)),
    ],
)
def test_what_a_function_may_return(module: Make, result: str, sizes: tuple[int, int]) -> None:
    split = load_function(module(f"def make(): return {result}") + ":make")
    assert isinstance(split, Split) and (len(split.train), len(split.test)) == sizes
    assert len(split.skipped) == ("skipped" in result or "Split" in result)


def test_two_problems_in_a_tuple_are_not_train_and_test(module: Make) -> None:
    split = load_function(module("def make(): return (P[0], P[1])") + ":make", test_fraction=0.5)
    assert (len(split.train), len(split.test)) == (1, 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def make(): return None", "returned a NoneType instead of problems"),
        ("def make(): return 'P'", "returned a str instead of problems"),
        ("def make(): return {'train': P}", "returned a dict instead of problems"),
        ("def make(): return (P, None)", "returned a NoneType instead of problems"),
        ("def make(): return []", "returned no problem"),
        ("def make(): return ([], P)", "returned no problem to train on"),
        ("def make(): return [P[0], 'x']", "item 2 is a str instead of a Problem"),
        ("def make(): return [P[0], P[0]]", "the id '0' is there twice"),
        ("def make(): return (P, [P[3]])", "the id '3' is there twice"),
        ("def make(): return [Problem('a', ' ')]", "the prompt of item 1 ('a') is empty"),
        ("def make(): return [Problem(3, '?')]", "the id of item 1 is empty or not a string"),
        ("def make(): 1 / 0", ".py:4: ZeroDivisionError"),
        ("def make():\n yield P[0]\n raise KeyError('x')", ".py:6: KeyError"),
        ("make = 3", "is a int, not a function"),
        ("def maek(): pass", "has no 'make'"),
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError"),
        ("def make(:", "cannot be imported: SyntaxError"),
    ],
)
def test_a_function_that_cannot_be_used(module: Make, body: str, reason: str) -> None:
    with pytest.raises(ProblemError) as caught:
        load_function(module(body) + ":make")
    assert reason in caught.value.message


@pytest.mark.parametrize("name", ["make", "a.b", ":make", "a:", "a:b c", "a.b:c.d"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ProblemError, match="does not name a Python function") as caught:
        load_function(name)
    assert "package.module:function" in caught.value.hint
