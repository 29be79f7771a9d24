"""A command that does not outlive this process, and leaves no child behind: watchdog.py, seen from its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import ClassVar

GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""


class Leash:
    """The writing end of the pipe that the watchdog watches; no child of this process has it."""

    _all: ClassVar[weakref.WeakSet[Leash]] = weakref.WeakSet()

    def __init__(self) -> None:
        self._end: int | None = None
        Leash._all.add(self)

    def spawn(self, command: list[str], environment: dict[str, str], log: int | None) -> subprocess.Popen[bytes]:
        """The command under a watchdog, in a session of its own; its output in the log, or with this process's."""
        watched, self._end = os.pipe()  # neither is inherited by a program, except where it is passed on
        watchdog = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py"))]
        try:
            return subprocess.Popen(
                [*watchdog, str(watched), str(GRACE_SECONDS), "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(watched,),
                start_new_session=True,
            )
        finally:
            os.close(watched)

    def close(self) -> None:
        """Have the watchdog end the command."""
        if self._end is not None:
            os.close(self._end)
            self._end = None

    @classmethod
    def close_all(cls) -> None:
        """In a forked child: left open there, the pipe would outlive a killed owner."""
        for pipe in cls._all:
            pipe.close()


os.register_at_fork(after_in_child=Leash.close_all)


def session_members(session: int) -> list[int]:
    """Living processes of a session, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue
            if int(of) == session and state != "Z":
                found.append(int(entry.name))
    return found


def clear_up(watchdog: subprocess.Popen[bytes]) -> None:
    """Wait until the watchdog has cleared up; clear up after it where it cannot."""
    try:
        watchdog.wait(GRACE_SECONDS + 10.0)
    except subprocess.TimeoutExpired:
        watchdog.kill()
    until = time.monotonic() + 10.0
    while (left := session_members(watchdog.pid)) and time.monotonic() < until:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    watchdog.wait()
