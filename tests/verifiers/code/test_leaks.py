"""What a failed program is told: the training test that it failed, and of all other tests nothing that could be learnt."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.problems import ProblemSets, load_problems
from pmd_agent.recipe import parse_recipe
from pmd_agent.types import Problem
from pmd_agent.verifiers.code import CodeVerifier

SECRETS = [(f"in{i}put7{i}", f"out{i}put9{i}") for i in range(8)]
"""(input, output) of tests, each a word that stands nowhere else."""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_rows(*rows: dict[str, Any]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write_rows


def sets_of(**keys: Any) -> ProblemSets:
    return load_problems(parse_recipe({"problems": keys}).problems)


def told(verifier: CodeVerifier, problem: Problem, program: str) -> str:
    verdict = verifier.verify(problem, f"```python\n{program}\n```")
    assert verdict.correct is False
    return verdict.feedback


def livecodebench(write: Callable[..., Path]) -> ProblemSets:
    tests = [{"input": a, "output": b, "testtype": "stdin"} for a, b in SECRETS]
    row = {
        "question_id": "q", "question_content": "?", "platform": "atcoder", "difficulty": "easy", "contest_date": "2025-03-01",
        "starter_code": "", "public_test_cases": json.dumps(tests[:2]), "private_test_cases": json.dumps(tests[2:]), "metadata": "{}",
    }  # fmt: skip
    return sets_of(type="livecodebench", path=str(write(row)), validation_fraction=0)


HOW = {
    "wrong": "print('nonsense')",
    "raises": "raise ValueError(given)",
    "says": "import sys\nprint(given, file=sys.stderr)\nsys.exit(given)",
    "name": "globals()[given + 'x']",
}
"""Ways to fail; `given` is the input, which an error's text may well hold."""


@pytest.mark.parametrize("how", HOW)
def test_of_livecodebench_only_the_half_that_is_trained_on_is_quoted(
    verifier: CodeVerifier, write: Callable[..., Path], how: str
) -> None:
    sets = livecodebench(write)
    (half,), (full,) = sets.train, sets.test
    trained = {test["input"] for test in half.data["tests"]}
    known = dict(SECRETS)
    for failing, (given, expected) in enumerate(SECRETS):
        # Right on all tests but one.
        answers = {a: b for a, b in known.items() if a != given}
        program = f"given = input()\nknown = {answers!r}\nif given in known: print(known[given])\nelse:\n    " + HOW[
            how
        ].replace("\n", "\n    ")
        feedback = told(verifier, full, program)
        quoted = {text for pair in SECRETS for text in pair if text in feedback}
        assert quoted <= ({given, expected} if given in trained else set()), f"{failing}: {feedback}"
        assert (given in trained) or feedback.startswith("A hidden test failed: ")
        if given in trained:
            assert given in told(verifier, half, program)


def functions(write: Callable[..., Path], kind: str) -> ProblemSets:
    asserts = [f"assert {{}}({a!r}) == {b!r}" for a, b in SECRETS]
    rows = []
    for number in range(8):
        if kind == "humaneval":
            check = "def check(candidate):\n" + "".join(f"    {a.format('candidate')}\n" for a in asserts)
            rows.append(
                {
                    "task_id": f"HumanEval/{number}",
                    "prompt": "def f(a):\n    '''.'''\n",
                    "entry_point": "f",
                    "test": check,
                }
            )
        else:
            tests = [a.format("f") for a in ["assert {}('shown') == 'seen'", *asserts]]
            rows.append({"task_id": number, "text": "?", "code": "def f(a): pass", "test_list": tests})
    keys = {"test_split": None} if kind == "mbpp" else {}
    return sets_of(type=kind, path=str(write(*rows)), test_fraction=0.5, validation_fraction=0.25, **keys)


@pytest.mark.parametrize("kind", ["humaneval", "mbpp"])
@pytest.mark.parametrize(
    "how",
    ["return a + '!'", "raise ValueError(a)", "return globals()[a]", "return [a, object()]", "import sys; sys.exit(a)"],
)
def test_of_functions_that_are_not_trained_on_nothing_is_quoted(
    verifier: CodeVerifier, write: Callable[..., Path], kind: str, how: str
) -> None:
    sets = functions(write, kind)
    assert [len(part) for part in (sets.train, sets.validation, sets.test)] == [3, 1, 4]
    program = f"def f(a):\n    if a == 'shown': return 'seen'\n    {how}"
    assert SECRETS[0][0] in told(verifier, sets.train[0], program)
    for problem in (sets.validation[0], sets.test[0]):
        feedback = told(verifier, problem, program)
        assert feedback.startswith("A hidden test failed: ") and not any(
            t in feedback for pair in SECRETS for t in pair
        )


def test_a_right_function_passes_and_is_told_nothing(verifier: CodeVerifier, write: Callable[..., Path]) -> None:
    program = f"def f(a):\n    return dict({SECRETS!r} + [('shown', 'seen')])[a]"
    for kind in ("humaneval", "mbpp"):
        sets = functions(write, kind)
        for problem in (sets.train[0], sets.test[0]):
            verdict = verifier.verify(problem, f"```python\n{program}\n```")
            assert (verdict.correct, verdict.feedback) == (True, "")


def test_real_problems_that_are_not_trained_on(verifier: CodeVerifier) -> None:
    path = Path(os.environ.get("PMD_TEST_DATA") or "", "humaneval/HumanEval.jsonl")
    if not os.environ.get("PMD_TEST_DATA") or not path.is_file():
        pytest.skip("PMD_TEST_DATA names no folder with humaneval/HumanEval.jsonl")
    sets = sets_of(type="humaneval", path=str(path))
    for problem in sets.test[:8]:
        for body in ("return None", "raise ValueError(repr(args))"):
            feedback = told(verifier, problem, f"def {problem.data['entry']}(*args, **kwargs):\n    {body}")
            assert feedback in (
                "A hidden test failed: wrong result",
                "A hidden test failed: the program raised an error",
            )
    shown = told(verifier, sets.train[0], f"def {sets.train[0].data['entry']}(*args, **kwargs):\n    return None")
    assert "candidate(" in shown
