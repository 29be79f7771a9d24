"""This side of the sandbox: starts programs, talks with them, and ends them with all that comes of them.

One warm server (jail/server.py) forks a process for every program. It is started with the first one, again where it has
died, and ended by `close` or with this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from pmd_agent.errors import VerifierError
from pmd_agent.verifiers.code.jail.room import Limits
from pmd_agent.verifiers.code.jail.wire import Wire, WireError

PROTECTIONS = {
    "group": "a process group of its own, ended whole",
    "limits": "limits on processor time, memory, file size, open files",
    "time": "a limit by the clock",
    "folder": "an empty folder of its own, removed afterwards",
    "processes": "process namespace: it sees and reaches no other process",
    "network": "network namespace: no network",
    "files": "a file system of its own: no file of yours is in it",
    "user": "another user, whose processes it may not look into",
    "system calls": "no new processes, sockets, mounts or signals (seccomp)",
}
"""What can protect, and what it does."""
ESSENTIAL = ("group", "limits", "time", "folder")
"""Without one of these nothing is run; also needed: no network (`network` or `system calls`), and that the checker's own
memory is out of reach (`files` or `user`)."""
_START_SECONDS = 60.0
_END_SECONDS = 10.0
_ABOVE = str(Path(__file__).parent)
_RUN = "import sys; sys.path[0] = sys.argv[2]; from jail.server import main; main()"
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # the same program has the same verdict: sets of strings have one order
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",  # else a few threads take all of a program's address space
}
REPLY = 1 << 22
"""Bytes, and lists and objects, of what a program may answer in one message."""
REPLY_PARTS = 1 << 19


class SandboxError(Exception):
    """The sandbox failed, not the program: there is no verdict."""


def protections() -> dict[str, bool]:
    """Which of `PROTECTIONS` are on here: tried, not guessed. Raises VerifierError where nothing can be started."""
    with Sandbox(allow_unsafe=True) as sandbox:
        return sandbox.protections()


def lacking(on: frozenset[str]) -> list[str]:
    """The essential protections that are missing."""
    missing = [name for name in ESSENTIAL if name not in on]
    if not on & {"network", "system calls"}:
        missing.append("network")
    if not on & {"files", "user"}:
        missing.append("files")
    return missing


class Sandbox:
    """Thread-safe. `allow_unsafe`: run programs although essential protections are missing."""

    def __init__(self, *, allow_unsafe: bool = False) -> None:
        self.allow_unsafe = allow_unsafe
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, limits: Limits, lifetime: float) -> Program:
        """A sandbox for one program, ready to be told it. Raises VerifierError where it would be unsafe."""
        with self._lock:
            if self._server is None or not self._server.alive:
                self._end()
                self._server = _Server()
            program = self._server.open(limits, lifetime)
        try:
            missing = lacking(program.wait_until_ready())
        except BaseException:
            program.close()
            raise
        if missing and not self.allow_unsafe:
            program.close()
            told = "; ".join(PROTECTIONS[name] for name in missing)
            raise VerifierError(
                f"Programs cannot be run safely here: missing is {told}.",
                "Allow user namespaces, or run as root in a container; in a machine that may be lost set "
                "problems.sandbox.allow_unsafe=true.",
            )
        return program

    def protections(self) -> dict[str, bool]:
        """Which of `PROTECTIONS` are on here. Raises VerifierError where programs would not be run."""
        try:
            with self.open(Limits(), 60) as program:
                return {name: name in program.on for name in PROTECTIONS}
        except (SandboxError, OSError) as error:
            raise VerifierError(f"No sandbox can be started here: {error}", "It needs Linux.") from error

    def close(self) -> None:
        """End the server; programs that still run are ended by whoever opened them."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class _Server:
    """The process that forks sandboxes. Not thread-safe."""

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise VerifierError("Programs can be checked on Linux only.", "Use a container or a virtual machine.")
        ours, theirs = socket.socketpair()
        self._link = ours
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `_end_server`)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _RUN, str(theirs.fileno()), _ABOVE],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        ours.settimeout(_START_SECONDS)
        self._ended = weakref.finalize(self, _end_server, self._process, ours, self._errors)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def open(self, limits: Limits, lifetime: float) -> Program:
        folder = tempfile.mkdtemp(prefix="pmd-program-")
        told = {"limits": asdict(limits), "lifetime": int(lifetime + 1), "folder": folder}
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        report, reporting = os.pipe()
        try:
            socket.send_fds(self._link, [json.dumps(told).encode()], [theirs_in, theirs_out, reporting])
            answer = self._link.recv(32)
            if not answer:
                raise ConnectionError("it ended")
        except OSError as error:
            for end in (ours_in, ours_out, report):
                os.close(end)
            shutil.rmtree(folder, ignore_errors=True)
            raise SandboxError(f"the sandbox's server does not answer ({error}): {self._last_words()}") from error
        finally:
            for end in (theirs_in, theirs_out, reporting):
                os.close(end)
        for end in (ours_in, ours_out):
            os.set_blocking(end, False)
        wire = Wire(ours_in, ours_out, limit=REPLY + (1 << 16), parts=REPLY_PARTS)
        return Program(int(answer), wire, report, folder)

    def close(self) -> None:
        self._ended()

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-400:].decode(errors="replace").strip() or "it said nothing"


def _end_server(process: subprocess.Popen[bytes], link: socket.socket, errors: IO[bytes]) -> None:
    link.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    errors.close()


class Program:
    """One sandbox, from its start to its end. Close it; then nothing of it is left, processes and files."""

    def __init__(self, pid: int, wire: Wire, report: int, folder: str) -> None:
        self.wire = wire
        self.on: frozenset[str] = frozenset()
        """The protections that are on, known once it is ready."""
        self._pid, self._report, self._folder = pid, report, folder
        self._said = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_until_ready(self) -> frozenset[str]:
        """Raises SandboxError."""
        try:
            message = self.wire.receive(time.monotonic() + _START_SECONDS)
        except WireError as error:
            raise SandboxError(f"a sandbox did not start: {error}") from error
        if "ready" not in message:
            raise SandboxError(f"a sandbox could not be made: {message.get('fault', 'no reason given')}")
        self.on = frozenset(message["ready"])
        return self.on

    def ended(self) -> dict[str, Any]:
        """How the process ended, where it has: `status`, `late`, `reached`. Waits for that; closes nothing."""
        self._wait(_END_SECONDS)
        try:
            found = json.loads(bytes(self._said))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def close(self) -> None:
        """Hang up, wait until all of it has ended, and remove its folder. More than once does nothing."""
        if self._report < 0:
            return
        self.wire.close()
        try:
            if not self._wait(_END_SECONDS):
                # Its number cannot be another's yet: the process still holds the other end of `report`.
                os.killpg(self._pid, 9)
                self._wait(_END_SECONDS)
        finally:
            os.close(self._report)
            self._report = -1
            _remove(self._folder)

    def _wait(self, seconds: float) -> bool:
        """Until the last of its processes that can report has ended; False where that takes longer."""
        until = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._report, select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            if poll.poll(left * 1000 + 1):
                part = os.read(self._report, 4096)
                if not part:
                    return True
                self._said += part
        return False


def _remove(folder: str) -> None:
    """Also where the program has taken its own rights away."""

    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.isdir(folder):
            return
        for path, _folders, _files in os.walk(folder):
            with contextlib.suppress(OSError):
                os.chmod(path, 0o700)
