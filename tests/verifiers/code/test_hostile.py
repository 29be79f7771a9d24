"""None of the hostile programs is scored correct or goes unjudged, outlives its check, or leaves a file."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.code import CodeVerifier

from .hostile import CHEATS, FLOODS, FUNCTIONS, REACHES

CASES = [("1 2", "3"), ("50 60", "110"), ("7 7", "14")]
SCRIPT = Problem("script", "?", data={"tests": [{"input": a, "output": b, "hidden": False} for a, b in CASES]})
METHOD = Problem(
    "method", "?", data={"entry": "add", "tests": [{"input": a.replace(" ", "\n"), "output": b} for a, b in CASES]}
)
CHECK = Problem(
    "check",
    "?",
    data={
        "entry": "add",
        "prompt": "def add(a, b):\n    '''The sum.'''\n",
        "check": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(50, 60) == 110\n",
    },
)
BUSY = {
    "fork bomb, errors ignored", "busy", "busy, signals ignored", "deep recursion", "deep recursion in C", "memory", "many files",
    "a regular expression", "hanging on stdin", "an endless exit", "an exception that hangs", "thread bomb", "the checker's files",
}  # fmt: skip
"""These use up their second of processor time."""


def parameters(programs: dict[str, str]) -> list[object]:
    return [pytest.param(p, id=n, marks=[pytest.mark.slow] if n in BUSY else []) for n, p in programs.items()]


def judged(verifier: CodeVerifier, problem: Problem, program: str) -> Verdict:
    begin = time.monotonic()
    verdict = verifier.verify(problem, f"```python\n{program}\n```")
    assert time.monotonic() - begin < 60
    server = verifier.sandbox._server
    assert server is not None and server.alive, "the server has survived"
    assert left_behind(server._process.pid) == [], "nothing outlives the check"
    assert not list(Path(tempfile.gettempdir()).glob("pmd-program-*")), "no folder is left"
    for left in ("/usr/lib/left", "/left", "/tmp/flood", "/tmp/d"):
        assert not Path(left).exists()
    return verdict


def left_behind(pid: int, seconds: float = 5.0) -> list[int]:
    """Children that are still there after so long: a killed one takes a moment to go where the machine is busy."""
    until = time.monotonic() + seconds
    while (left := children_of(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("program", parameters(FLOODS | REACHES | CHEATS))
def test_a_hostile_script(verifier: CodeVerifier, program: str) -> None:
    verdict = judged(verifier, SCRIPT, program)
    assert (verdict.reward, verdict.correct) == (0.0, False) and verdict.feedback
    assert "110" not in verdict.feedback or "110" in program or "range" in program, "no other test is told of"


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("problem", [METHOD, CHECK], ids=["method", "check"])
@pytest.mark.parametrize("program", parameters(FUNCTIONS))
def test_a_hostile_function(verifier: CodeVerifier, problem: Problem, program: str) -> None:
    verdict = judged(verifier, problem, program)
    assert (verdict.reward, verdict.correct) == (0.0, False) and verdict.feedback


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("name", REACHES)
def test_what_it_reaches_for_is_refused_not_missed(verifier: CodeVerifier, name: str) -> None:
    """Each of them ends with an error: none gets past its attempt and merely prints the wrong thing."""
    if name in BUSY:
        pytest.skip("looks through all files first")
    assert "Got:" not in judged(verifier, SCRIPT, REACHES[name]).feedback


def test_there_are_enough() -> None:
    assert len(FLOODS | REACHES | CHEATS) >= 70 and len(FUNCTIONS) >= 20


@pytest.mark.usefixtures("whole")
def test_the_next_program_is_not_disturbed(verifier: CodeVerifier) -> None:
    assert judged(verifier, SCRIPT, "print(sum(map(int, input().split())))").correct
