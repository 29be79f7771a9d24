from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from pmd_agent.errors import RecipeError
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers import Exact, FunctionVerifier, MultipleChoice, build_verifier, verify_all

PROBLEM = Problem("p", "?", "1")
_names = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """module(body) -> the name of a new module in the working directory, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])

    def make(body: str) -> str:
        name = f"user_verifier_{next(_names)}"
        (tmp_path / f"{name}.py").write_text(body)
        return name

    return make


def test_built_in_verifiers() -> None:
    assert isinstance(build_verifier("multiple_choice"), MultipleChoice)
    assert build_verifier("exact") == Exact(feedback=False)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("multiple-choice", "multiple_choice"), ("Multiple Choice", "multiple_choice"), ("exakt", "exact"), ("mcq", "")],
)
def test_an_unknown_name_is_told_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=f"There is no verifier '{name}'") as caught:
        build_verifier(name)
    assert (f"Did you mean {meant}?" in caught.value.hint) == bool(meant)
    assert (
        "Known: multiple_choice, exact, parts, math, code, environment, none, or your own as package.module:function."
        in caught.value.hint
    )


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_out_of_bounds(threshold: float) -> None:
    with pytest.raises(RecipeError, match="success threshold"):
        build_verifier("exact", threshold)


def test_a_function_of_the_users_own(module: Callable[[str], str]) -> None:
    verifier = build_verifier(module("def verify(problem, text): return problem.answer in text") + ":verify")
    assert [v.correct for v in verify_all(verifier, [PROBLEM], [["1", "2"]]).verdicts_PG[0]] == [True, False]


@pytest.mark.parametrize(
    ("returned", "verdict"),
    [
        (True, Verdict(1.0, True)),
        (False, Verdict(0.0, False)),
        (1, Verdict(1.0, True)),
        (0.7, Verdict(0.7, True)),
        (0.69, Verdict(0.69, False)),
        (numpy.float32(0.5), Verdict(0.5, False)),
        (numpy.bool_(True), Verdict(1.0, True)),
        (None, Verdict(None, None)),
        (Verdict(0.2, True, "close", "x"), Verdict(0.2, True, "close", "x")),
    ],
)
def test_what_a_function_may_return(returned: object, verdict: Verdict) -> None:
    assert FunctionVerifier(lambda problem, text: returned, "mine", 0.7).verify(PROBLEM, "") == verdict


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("yes", "TypeError: mine returned a str"),
        ([1.0], "TypeError: mine returned a list"),
        (1.5, "ValueError: mine returned 1.5, outside of [0, 1]"),
        (-1, "ValueError: mine returned -1.0"),
        (float("nan"), "ValueError: mine returned nan"),
        (None, "the verifier gave no reward"),
    ],
)
def test_what_a_function_may_not_return_is_not_checked(returned: object, reason: str) -> None:
    verified = verify_all(FunctionVerifier(lambda problem, text: returned, "mine"), [PROBLEM], [[""]])
    assert verified.verdicts_PG == [[Verdict(None, None)]] and reason in verified.first_reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("verify = 1", "is a int, not a function"),
        ("class verify: pass", "is a type, not a function"),
        ("async def verify(problem, text): return 1", "is an async function"),
        ("def verify(text): return 1", "cannot be called with (problem, text)"),
        ("def verify(problem, text, third): return 1", "cannot be called with (problem, text)"),
        ("def verfy(problem, text): return 1", "has no 'verify'"),
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_function_that_cannot_be_used(module: Callable[[str], str], body: str, reason: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build_verifier(module(body) + ":verify")
    assert reason in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", [":verify", "a:", "a:b c", "a:b.c"])
def test_a_name_of_no_function(name: str) -> None:
    with pytest.raises(RecipeError, match="does not name a Python function"):
        build_verifier(name)
