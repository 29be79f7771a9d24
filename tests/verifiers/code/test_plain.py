"""A right program is right in the sandbox: it prints there, byte for byte, what plain Python has it print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.types import Problem
from pmd_agent.verifiers.code import CodeVerifier, Limits
from pmd_agent.verifiers.code.sandbox import Sandbox

from .plain_programs import ALL, INPUT

pytestmark = pytest.mark.usefixtures("whole")


def plainly(program: str, given: str, folder: Path) -> tuple[int, bytes, bytes]:
    """`python program.py < input`."""
    folder.mkdir()
    (folder / "program.py").write_text(program, newline="")
    (folder.parent / f"{folder.name}.in").write_text(given, newline="")
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    with open(folder.parent / f"{folder.name}.in", "rb") as stdin:
        done = subprocess.run(
            [sys.executable, "program.py"],
            stdin=stdin,
            capture_output=True,
            cwd=folder,
            env=environment,
            timeout=60,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
        )
    return done.returncode, done.stdout, done.stderr


def boxed(sandbox: Sandbox, program: str, given: str) -> tuple[int, bytes, bytes]:
    """The same in the sandbox, before anything is compared."""
    until = time.monotonic() + 60
    with sandbox.open(Limits(), 60) as running:
        running.wire.send({"mode": "tests", "source": program, "entry": ""}, until)
        running.wire.send({"input": given, "wall": 20.0}, until)
        ended: dict[str, Any] = running.wire.receive(until)
        output, errors, _ = (
            running.wire.receive_bytes(ended["sizes"][n], until) for n in ("output", "errors", "reply")
        )
    return ended["status"], output, errors


def test_there_are_enough() -> None:
    assert len(ALL) >= 60


@pytest.mark.parametrize("name", ALL)
def test_it_prints_the_same(verifier: CodeVerifier, tmp_path: Path, name: str) -> None:
    with ThreadPoolExecutor(1) as beside:
        plain = beside.submit(plainly, ALL[name], INPUT, tmp_path / "plain")
        found = boxed(verifier.sandbox, ALL[name], INPUT)
    status, output, errors = plain.result()
    assert status == 0, errors.decode()
    assert found[:2] == (status, output), found[2].decode()


LARGE = " ".join(map(str, range(1_500_000)))
"""10 MB."""


@pytest.mark.parametrize(
    "program",
    [
        "print(sum(map(int, input().split())))",
        "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
        "import os\nprint(sum(map(int, os.read(0, os.fstat(0).st_size).split())))",
        "print(sum(map(int, open('/dev/stdin').read().split())))",
    ],
)
def test_a_large_input(verifier: CodeVerifier, program: str) -> None:
    status, output, errors = boxed(verifier.sandbox, program, LARGE)
    assert (status, output) == (0, f"{sum(range(1_500_000))}\n".encode()), errors.decode()


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("x = 1\n1 / 0", 'File "/tmp/program.py", line 2, in <module>\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero'),
        ("x = (", 'File "/tmp/program.py", line 1\n    x = (\n        ^\nSyntaxError: \'(\' was never closed'),
        ("import sys\nsys.exit('no')", "no"),
        ("class E(Exception): pass\nraise E('x') from KeyError('y')", "E: x"),
        ("def f(): f()\nimport sys\nsys.setrecursionlimit(100)\nf()", "RecursionError: maximum recursion depth exceeded"),
    ],
)  # fmt: skip
def test_an_error_ends_as_in_plain_python(verifier: CodeVerifier, tmp_path: Path, program: str, error: str) -> None:
    status, output, errors = boxed(verifier.sandbox, program, INPUT)
    plain_status, plain_output, plain_errors = plainly(program, INPUT, tmp_path / "plain")
    assert errors.decode().strip().endswith(error)
    told = plain_errors.decode().replace(str(tmp_path / "plain"), "/tmp")
    assert (status, output, errors.decode()) == (plain_status, plain_output, told)


@pytest.mark.parametrize(("leave", "status"), [("os._exit(3)", 3), ("sys.exit(-1)", 255), ("sys.exit(256)", 0)])
def test_an_exit_status_is_as_in_plain_python(verifier: CodeVerifier, tmp_path: Path, leave: str, status: int) -> None:
    program = f"import os, sys\nprint(1)\n{leave}"
    found = boxed(verifier.sandbox, program, INPUT)
    assert found == plainly(program, INPUT, tmp_path / "plain") and found[0] == status


def test_nothing_of_one_test_is_left_for_the_next(verifier: CodeVerifier) -> None:
    """Not even where a file lies at the same place: folder, temporary files, and what processes share."""
    look = "import os\nfound = [n for f in ('/tmp', '/dev/shm', '.') for n in os.listdir(f) if n != 'program.py']\n"
    leave = "for f in ('/tmp/a', '/dev/shm/b', 'c'): open(f, 'w').write('x')\nos.mkdir('d', 0o000)\n"
    program = f"{look}print(found, input())\n{leave}"
    tests = [{"input": str(i), "output": f"[] {i}"} for i in range(4)]
    verdict = verifier.verify(Problem("p", "?", data={"tests": tests}), f"```python\n{program}\n```")
    assert verdict.correct, verdict.feedback
