"""What holds on systems that allow less: the server is started with parts of it taken away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmd_agent.errors import VerifierError
from pmd_agent.types import Problem
from pmd_agent.verifiers.code import CodeVerifier, Limits, sandbox

from .test_hostile import children_of, left_behind

PROBLEM = Problem("p", "?", data={"tests": [{"input": "1 2", "output": "3"}]})
RIGHT = "print(sum(map(int, input().split())))"
NO_NAMESPACES = "from jail import room; room.leave = frozenset; "
NO_FILTER = "from jail import filter; filter.available = lambda: False; "
NO_MOUNTS = "from jail import system\ndef no(*_): raise PermissionError\nsystem.mount = no\n"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, on: dict[str, bool], folders: Path) -> Iterator[object]:
    made: list[CodeVerifier] = []

    def make(*parts: str, allow_unsafe: bool = False) -> CodeVerifier:
        head, tail = sandbox._RUN.split("from jail.server")
        monkeypatch.setattr(
            sandbox, "_RUN", f"{head}\n{''.join(f'{part}{chr(10)}' for part in parts)}from jail.server{tail}"
        )
        made.append(CodeVerifier(limits=Limits(seconds=2.0, wall=20.0), allow_unsafe=allow_unsafe))
        return made[-1]

    yield make
    for verifier in made:
        verifier.close()


def run(verifier: CodeVerifier, program: str) -> bool | None:
    return verifier.verify(PROBLEM, f"```python\n{program}\n```").correct


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is for root to become")
def test_as_root_without_namespaces_another_user_and_the_filter_do(without: object) -> None:
    verifier: CodeVerifier = without(NO_NAMESPACES)  # type: ignore[operator]
    on = {name for name, is_on in verifier.protections().items() if is_on}
    assert on == {"group", "limits", "time", "folder", "user", "system calls"}
    assert run(verifier, RIGHT)
    for program in ("import os; os.fork()", "import socket; socket.socket()", "import os; os.kill(os.getppid(), 9)"):
        assert run(verifier, f"{program}\n{RIGHT}") is False
    assert run(verifier, f"import os\nopen('/proc/%d/mem' % os.getppid(), 'rb')\n{RIGHT}") is False
    assert run(verifier, f"open('x', 'w').write('x')\n{RIGHT}"), "its folder is its own"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is for root to become")
def test_as_root_without_namespaces_whatever_a_program_does_is_its_own_fault(without: object) -> None:
    verifier: CodeVerifier = without(NO_NAMESPACES)  # type: ignore[operator]
    # By ctypes, which is there already: root's interpreter may lie where another user cannot read more of it.
    begin = "import ctypes, os\nlibc, keeper = ctypes.CDLL(None), os.getppid()\n"
    ways = [
        "libc.kill(keeper, 9) == 0",
        "libc.fcntl(0, 8, keeper) == 0",  # F_SETOWN
        "libc.fcntl(1, 10, 9) == 0",  # F_SETSIG
        "libc.ioctl(1, 0x8901, ctypes.byref(ctypes.c_int(keeper))) == 0",  # FIOSETOWN
        "libc.open(f'/proc/{keeper}/mem'.encode(), 0) >= 0",
        "libc.open(f'/proc/{keeper}/oom_score_adj'.encode(), 1) >= 0",
        "os.access(f'/proc/{keeper}/fd/0', os.R_OK)",
    ]
    tried = "".join(f"if {way}: print('done', {number})\n" for number, way in enumerate(ways))
    verdict = verifier.verify(PROBLEM, f"```python\n{begin}{tried}{RIGHT}\n```")
    assert verdict.correct, verdict.feedback
    assert run(verifier, f"{begin}if os.path.exists('/proc/1/status') and keeper > 1: {RIGHT}"), "they could be reached"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is for root to become")
def test_as_root_without_namespaces_nothing_is_left(without: object) -> None:
    verifier: CodeVerifier = without(NO_NAMESPACES)  # type: ignore[operator]
    names = ["/tmp/pmd-left", "/var/tmp/pmd-left", "/dev/shm/pmd-left"]
    leave = (
        f"import os\nfor n in {names}: os.makedirs(n + '-d/e'); open(n + '-d/e/f', 'w').close(); open(n, 'w').close()\n"
    )
    assert run(verifier, f"{leave}{RIGHT}")
    assert not [name for name in names if Path(name).exists() or Path(f"{name}-d").exists()]
    two = Problem("p", "?", data={"tests": [{"input": str(i), "output": str(i)} for i in range(2)]})
    look = "import os\nassert not [n for n in os.listdir('..') if n != os.path.basename(os.getcwd())]\nprint(input())"
    assert verifier.verify(two, f"```python\n{look}\n```").correct is False, "other tests' folders are closed"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is for root to become")
def test_as_root_without_namespaces_standard_streams_have_their_names(without: object) -> None:
    verifier: CodeVerifier = without(NO_NAMESPACES)  # type: ignore[operator]
    for way in ("/dev/{}", "/proc/self/fd/{}"):
        given, out = (way.format("stdin"), way.format("stdout")) if "dev" in way else (way.format(0), way.format(1))
        assert run(verifier, f"x = open('{given}').read()\nopen('{out}', 'w').write(str(sum(map(int, x.split()))))"), (
            way
        )


def test_without_the_filter_namespaces_do(without: object) -> None:
    verifier: CodeVerifier = without(NO_FILTER)  # type: ignore[operator]
    assert not verifier.protections()["system calls"]
    assert run(verifier, RIGHT)
    assert run(verifier, f"import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\n{RIGHT}"), (
        "allowed, and ended"
    )
    server = verifier.sandbox._server
    assert server is not None and left_behind(server._process.pid) == []
    assert run(verifier, "import os\nwhile True: os.fork()") is False
    assert left_behind(server._process.pid) == []
    assert run(verifier, f"import socket; socket.create_connection(('127.0.0.1', 22), 1)\n{RIGHT}") is False


def test_without_mounts_the_files_are_seen_and_that_is_said(without: object) -> None:
    verifier: CodeVerifier = without(NO_MOUNTS, allow_unsafe=True)  # type: ignore[operator]
    assert not verifier.protections()["files"]
    assert run(verifier, RIGHT)


def test_without_anything_nothing_is_run(without: object) -> None:
    verifier: CodeVerifier = without(NO_NAMESPACES, NO_FILTER)  # type: ignore[operator]
    with pytest.raises(VerifierError, match="no network"):
        run(verifier, RIGHT)


def test_without_anything_a_daemon_is_ended_all_the_same(without: object, tmp_path: Path) -> None:
    verifier: CodeVerifier = without(NO_NAMESPACES, NO_FILTER, allow_unsafe=True)  # type: ignore[operator]
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)\n"
    assert run(verifier, daemon + RIGHT)
    server = verifier.sandbox._server
    assert server is not None
    until = time.monotonic() + 10
    while (left := children_of(server._process.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []
