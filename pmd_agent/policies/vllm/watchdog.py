"""Runs one command, and leaves nothing of it behind when its owner is gone.

    python watchdog.py FD GRACE -- COMMAND...

FD is the reading end of a pipe whose writing end only the owner holds: when the owner ends, however it ends (kill -9
included), the pipe closes. Then the command's process group gets SIGTERM, and after GRACE seconds whatever has come of
the command gets SIGKILL, also what has left the group. The exit status is the command's own, or 128 + its signal.

Of the standard library alone, and run by its path, so that it starts in a moment whatever is installed. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LOOK_SECONDS = 0.1
GIVE_UP_SECONDS = 30.0
"""How long to go on killing: a process in uninterruptible sleep (a hung driver) takes no signal."""


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def descendants() -> list[int]:
    """Ids of all living processes that come of this one; zombies are none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:  # "pid (name) state parent ...", and the name may hold anything
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        of_this = children.get(waiting.pop(), [])
        found += of_this
        waiting += of_this
    return found


class Watchdog:
    """One command and what comes of it."""

    def __init__(self, owner: int, grace: float, command: list[str]) -> None:
        self.owner, self.grace = owner, grace
        self.status: int | None = None
        """What the command itself ended with."""
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask)
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the command become this process's children
        self.command = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            # Where this process itself is killed, the command at least goes with it.
            preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )

    def run(self) -> int:
        """Wait until the command ends or the owner is gone, clear up, and return the exit status."""
        while self.status is None and not self.asked:
            self._reap()
            gone, _, _ = select.select([self.owner], [], [], LOOK_SECONDS)
            self.asked |= bool(gone) and not os.read(self.owner, 1)
        if self.status is None:
            self._signal_group(signal.SIGTERM)
            self._wait_while(self._group_lives, self.grace)
        self._kill()
        return 128 - self.status if self.status is not None and self.status < 0 else self.status or 0

    def _ask(self, *_: object) -> None:
        self.asked = True

    def _reap(self) -> None:
        """Collect all children that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.command.pid:
                self.status = self.command.returncode = os.waitstatus_to_exitcode(status)

    def _wait_while(self, true: Callable[[], object], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._reap()
            if not true():
                return
            time.sleep(LOOK_SECONDS)

    def _kill(self) -> None:
        until = time.monotonic() + GIVE_UP_SECONDS
        while (left := descendants()) and time.monotonic() < until:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._wait_while(descendants, 5 * LOOK_SECONDS)
        self._reap()

    def _group_lives(self) -> bool:
        return self._signal_group(0)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.command.pid, number)
        except ProcessLookupError:
            return False
        return True


def main() -> int:
    """Parse FD GRACE -- COMMAND, and run it."""
    owner, grace, dashes, *command = sys.argv[1:]
    if dashes != "--" or not command:
        raise SystemExit(__doc__)
    return Watchdog(int(owner), float(grace), command).run()


if __name__ == "__main__":
    sys.exit(main())
