"""Verdicts and what they say: right, wrong, crashed, late; and that a sandbox that fails gives none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pmd_agent.errors import VerifierError
from pmd_agent.types import Problem
from pmd_agent.verifiers import build_verifier, verify_all
from pmd_agent.verifiers.code import CodeVerifier, Limits, sandbox

TESTS = [("1 2", "3"), ("50 60", "110"), ("-1 1", "0")]


def script(**hidden: bool) -> Problem:
    return Problem(
        "s",
        "?",
        data={
            "tests": [{"input": a, "output": b, "hidden": hidden.get(f"t{i}", False)} for i, (a, b) in enumerate(TESTS)]
        },
    )


def method() -> Problem:
    return Problem(
        "f", "?", data={"entry": "add", "tests": [{"input": a.replace(" ", "\n"), "output": b} for a, b in TESTS]}
    )


def checked(
    check: str = "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    prompt: str = "def add(a, b):\n    '''Sum.'''\n",
) -> Problem:
    return Problem("c", "?", data={"entry": "add", "prompt": prompt, "check": check})


def block(program: str) -> str:
    return f"Here:\n```python\n{program}\n```"


RIGHT = "a, b = map(int, input().split())\nprint(a + b)"


@pytest.mark.parametrize(
    "program",
    [
        RIGHT,
        "def main():\n    print(sum(map(int, open(0).read().split())))\nif __name__ == '__main__':\n    main()",
        "import sys\nprint(sum(int(x) for x in sys.stdin.buffer.read().split()))\nsys.exit()",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\ndef f():\n    print(sum(map(int, input().split())))\nthreading.Thread(target=f).start()",
        "import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))",
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\na, b = map(int, input().split())\nprint(f(20000) - 20000 + a + b)",
        "print(reduce(operator.add, [int(x) for x in input().split()], Counter()['x']))",
        "open('x', 'w').write(input())\nprint(sum(map(int, open('x').read().split())))",
    ],
)
def test_right_scripts(verifier: CodeVerifier, program: str) -> None:
    verdict = verifier.verify(script(), block(program))
    assert (verdict.reward, verdict.correct, verdict.feedback) == (1.0, True, ""), verdict.feedback
    assert verdict.answer == program + "\n"


@pytest.mark.parametrize(
    ("problem", "program"),
    [
        (method(), "class Solution:\n    def add(self, a: int, b: Optional[int]) -> int:\n        return a + b"),
        (method(), "def add(a, b): return a + b\nif __name__ == '__main__': print(add(int(input()), 1))"),
        (checked(), "def add(a, b): return a + b"),
        (Problem("c", "?", data={"entry": "check", "check": "def check(candidate):\n    assert check(1, 2) == 3 and candidate(1, 1) == 2"}), "def check(a, b): return a + b"),
        (checked(prompt="from typing import List\ndef one(): return 1\ndef add(a, b):\n    '''Sum.'''\n"), "def add(a: List, b): return a + b * one()"),
        (checked("def check(candidate):\n    try:\n        candidate('a', 1)\n        assert False\n    except TypeError:\n        pass\n    assert candidate((1,), (2,)) == (1, 2)"), "def add(a, b): return a + b"),
    ],
)  # fmt: skip
def test_right_functions(verifier: CodeVerifier, problem: Problem, program: str) -> None:
    verdict = verifier.verify(problem, block(program))
    assert verdict.correct, verdict.feedback


@pytest.mark.parametrize(
    ("problem", "text", "told"),
    [
        (script(), "I do not know.", ["No complete ```python block"]),
        (script(), block("print(3)"), ["Test 2 of 3 failed.", "Input:\n50 60", "Expected:\n110", "Got:\n3"]),
        (script(), block("1 / 0"), ["Test 1 of 3 failed", "line 1", "1 / 0", "ZeroDivisionError", "Input:\n1 2"]),
        (script(), block("x = ("), ["SyntaxError"]),
        (script(), block("import numpy"), ["No module named 'numpy'"]),
        (script(), block("import sys\nsys.exit('no')"), ["raised an error\nno"]),
        (script(), block("raise SystemExit(3)"), ["exit status 3"]),
        (script(), block("print('x' * 5000)"), ["characters left out"]),
        (method(), block("def add(a, b): return a - b"), ["Test 1 of 3 failed.", "Expected:\n3", "Got:\n-1"]),
        (method(), block("def add(a): return a"), ["TypeError"]),
        (checked(), block("def add(a, b): return a - b"), ["candidate(1, 2) returned -1", "assert candidate(1, 2) == 3"]),
        (checked(), block("def add(a, b): return {}[a]"), ["candidate(1, 2) raised an error", "KeyError: 1"]),
        (checked(), block("import nothing_there"), ["ModuleNotFoundError"]),
    ],
)  # fmt: skip
def test_wrong_programs_are_told_why(verifier: CodeVerifier, problem: Problem, text: str, told: list[str]) -> None:
    verdict = verifier.verify(problem, text)
    assert (verdict.reward, verdict.correct) == (0.0, False)
    for part in told:
        assert part in verdict.feedback
    assert len(verdict.feedback) < 2500


def test_hidden_tests_are_not_told_of(verifier: CodeVerifier) -> None:
    verdict = verifier.verify(script(t1=True, t2=True), block("print(3)"))
    assert verdict.correct is False and verdict.feedback == "A hidden test failed: wrong result"
    crashed = verifier.verify(script(t0=True, t1=True, t2=True), block("raise ValueError(input())"))
    assert "1 2" not in crashed.feedback and "50 60" not in crashed.feedback, crashed.feedback


def test_tests_that_may_be_shown_come_first(verifier: CodeVerifier) -> None:
    assert "Input:\n-1 1" in verifier.verify(script(t0=True, t1=True), block("print('x')")).feedback


def test_late_programs_are_wrong(on: dict[str, bool]) -> None:
    made = CodeVerifier(limits=Limits(seconds=1.0, wall=1.0), total_seconds=20)
    try:
        for problem in (script(), method(), checked()):
            program = "import time\ntime.sleep(100)\ndef add(a, b): return 3"
            assert "timed out" in made.verify(problem, block(program)).feedback
    finally:
        made.close()


@pytest.mark.parametrize("leave", ["exit()", "quit()", "exit(0)", "import sys; sys.exit()"])
def test_a_program_may_leave_as_elsewhere(verifier: CodeVerifier, leave: str) -> None:
    program = f"print(sum(map(int, input().split())))\n{leave}\nprint('never')"
    assert verifier.verify(script(), block(program)).correct is True


def test_a_name_that_is_nowhere_is_an_error_in_an_annotation_too(verifier: CodeVerifier) -> None:
    program = "def add(a: Nowhere, b): return a + b"
    assert "NameError" in verifier.verify(method(), block(program)).feedback


def test_a_result_with_more_digits_than_python_writes_is_wrong(verifier: CodeVerifier) -> None:
    verdict = verifier.verify(checked(), block("def add(a, b): return 10 ** 5000"))
    assert verdict.reward == 0.0 and verdict.correct is False and "very many digits" in verdict.feedback


def test_a_fraction(on: dict[str, bool]) -> None:
    made = CodeVerifier(fraction=True, cores=1)
    try:
        verdict = made.verify(script(), block("print(abs(sum(map(int, input().split()))) if True else 0 * 1)"))
        assert verdict.reward == 1.0
        third = made.verify(script(), block("print(3)"))
        assert third.reward == pytest.approx(1 / 3) and third.correct is False and "Test 2 of 3" in third.feedback
        most = made.verify(script(), block("n = sum(map(int, input().split()))\nprint(n if n > 0 else 7)"))
        assert 0.5 < most.reward < 1 and most.correct is False, "correct is what passes all"
    finally:
        made.close()


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Problem("p", "?"), "p has no tests"),
        (checked("def check(candidate):\n    1 / 0"), "before they call anything"),
        (checked("x = ("), "before they call anything"),
    ],
)
def test_tests_that_fail_themselves_give_no_verdict(verifier: CodeVerifier, problem: Problem, reason: str) -> None:
    verified = verify_all(verifier, [problem], [[block("def add(a, b): return 3")]])
    assert verified.unchecked == 1 and reason in verified.first_reason


def test_a_lost_sandbox_gives_no_verdict_and_the_next_one_works(on: dict[str, bool]) -> None:
    made = CodeVerifier(limits=Limits(seconds=20, wall=60))
    try:
        assert made.verify(script(), block(RIGHT)).correct
        server = made.sandbox._server
        assert server is not None
        server._process.kill()
        server._process.wait()
        assert made.verify(script(), block(RIGHT)).correct, "started again"
    finally:
        made.close()


def test_many_at_once_keep_their_places(verifier: CodeVerifier) -> None:
    problems = [Problem(f"p{i}", "?", data={"tests": [{"input": "", "output": str(i)}]}) for i in range(6)]
    texts = [[block(f"print({i})"), block("print(99)"), "nothing"] for i in range(6)]
    verdicts_PG = verify_all(verifier, problems, texts).verdicts_PG
    assert [[v.correct for v in verdicts_G] for verdicts_G in verdicts_PG] == [[True, False, False]] * 6


def test_an_unsafe_system_is_refused(on: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "lacking", lambda on: ["network"])
    made = CodeVerifier()
    try:
        with pytest.raises(VerifierError, match="no network") as caught:
            made.verify(script(), block(RIGHT))
        assert "allow_unsafe" in caught.value.hint
        made.sandbox.allow_unsafe = True
        assert made.verify(script(), block(RIGHT)).correct
    finally:
        made.close()


def test_what_is_essential() -> None:
    enough = {"group", "limits", "time", "folder"}
    assert sandbox.lacking(frozenset(enough | {"network", "files"})) == []
    assert sandbox.lacking(frozenset(enough | {"system calls", "user"})) == []
    assert sandbox.lacking(frozenset(enough)) == ["network", "files"]
    assert sandbox.lacking(frozenset({"network", "files"})) == ["group", "limits", "time", "folder"]


def test_a_recipe_names_it(on: dict[str, bool]) -> None:
    made = build_verifier("code", 1.0, cores=3)
    assert isinstance(made, CodeVerifier) and made.parallel == 3


def test_a_process_that_is_killed_leaves_nothing(on: dict[str, bool], tmp_path: Path) -> None:
    """The checking process gets SIGKILL while a program runs."""
    code = (
        "from pmd_agent.types import Problem\nfrom pmd_agent.verifiers.code import CodeVerifier, Limits\nimport sys\n"
        "p = Problem('p', '?', data={'tests': [{'input': '', 'output': ''}]})\n"
        "v = CodeVerifier(limits=Limits(seconds=300, wall=300), total_seconds=300)\n"
        "v.sandbox.protections()\nprint(v.sandbox._server._process.pid, flush=True)\n"
        "v.verify(p, '```python\\nimport time\\ntime.sleep(300)\\n```')\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    with owner, owner.stdout:
        server = int(owner.stdout.readline())
        until = time.monotonic() + 20
        while len(of := family(server)) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(of) >= 4, "server, its fork, keeper, program"
        owner.kill()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in of) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in of if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == [], "the server has removed the folder"


def family(pid: int) -> list[int]:
    """A process and all that come of it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def test_threads_of_a_batch_end(verifier: CodeVerifier) -> None:
    before = threading.active_count()
    verify_all(verifier, [script()], [[block(RIGHT)] * 3])
    assert threading.active_count() <= before
