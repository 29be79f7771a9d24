"""Watches one program: pid 1 of its own namespace where there are namespaces, so that with it everything ends.

First it says what protects (`{"ready": [...]}`), then it is told the program. In mode `tests` the program is run once for
every test that is sent, each time in a new process. In modes `calls` and `check` the process itself has the wire, and its
keeper only waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

from . import filter, player, room, system
from .wire import Gone, Wire, WireError

_NOTHING = "/dev/null"
_ERRORS = 1 << 14
"""Bytes of what a program says on stderr that are looked at, from the end."""
_REPLY = 1 << 22
"""Bytes of what a call returns, as JSON."""


class Keeper:
    """One program, and the process that it runs in."""

    def __init__(self, wire: Wire, limits: room.Limits, marks: frozenset[str]) -> None:
        self.wire, self.limits, self.marks = wire, limits, marks

    def run(self) -> dict[str, Any]:
        """Serve until the other side hangs up; how the last process ended."""
        self.wire.send({"ready": sorted(self.marks)})
        told = self.wire.receive()
        if told["mode"] == "tests":
            return self._tests(told)
        if told["mode"] == "calls":
            return self._talk(lambda: player.answer_calls(told["source"], told["before"], told["entry"], self.wire))
        return self._talk(lambda: player.check(told["prompt"], told["test"], told["entry"], self.wire))

    def _tests(self, program: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                told = self.wire.receive()
            except Gone:
                return {}
            self.wire.send(self._test(program, told))

    def _test(self, program: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
        # In memory, not in the program's folder: a program that fills that must not keep its next input from coming.
        files = [os.memfd_create(name) for name in ("input", "output", "errors", "reply")]
        try:
            _write(files[0], told.get("input", "").encode("utf-8", "replace"))
            os.lseek(files[0], 0, os.SEEK_SET)
            ended = self._watch(self._start(lambda: player.play(program, told), files))
            ended["over"] = os.fstat(files[1]).st_size >= self.limits.output
            ended["output"] = _read(files[1], 0, self.limits.output)
            ended["errors"] = _read(files[2], -_ERRORS, _ERRORS)
            ended["reply"] = _read(files[3], 0, _REPLY)
            return ended
        finally:
            for file in files:
                os.close(file)

    def _talk(self, play: Callable[[], int]) -> dict[str, Any]:
        nothing = os.open(_NOTHING, os.O_RDWR)
        return self._watch(self._start(play, [nothing, nothing, nothing], keep_wire=True))

    def _start(self, play: Callable[[], int], files: list[int], *, keep_wire: bool = False) -> tuple[int, int]:
        """The new process's id, and what tells that its program was reached."""
        reached, reaching = os.pipe()
        pid = os.fork()
        if pid:
            os.close(reaching)
            return pid, reached
        status = 70
        try:
            os.setsid()
            ends = [self.wire.incoming, self.wire.outgoing] if keep_wire else []
            self._rearrange(files, [*ends, reaching], keep_wire)
            last = len(files) + len(ends)
            room.set_limits(self.limits, count_processes=bool(self.marks & {"user", "user namespace"}))
            if "system calls" in self.marks:
                filter.install()
            os.write(last, b".")
            os.close(last)
            status = play()
        finally:
            os._exit(status)

    def _rearrange(self, files: list[int], ends: list[int], keep_wire: bool) -> None:
        """`files` become 0, 1, 2 and `ends` what follows; everything else is closed."""
        high = [os.dup(file) for file in [*files, *ends]]
        # Copies first: a source may be one of the targets.
        safe = [os.dup2(file, 200 + i) for i, file in enumerate(high)]
        for target, file in enumerate(safe):
            os.dup2(file, target)
        os.closerange(len(safe), 1 << 16)
        if keep_wire:
            self.wire.incoming, self.wire.outgoing = 3, 4

    def _watch(self, started: tuple[int, int]) -> dict[str, Any]:
        """Wait until the process ends, runs out of time, or nobody asks any more; leave none behind."""
        pid, reached = started
        begin = time.monotonic()
        ending = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(ending, select.POLLIN)
        poll.register(self.wire.incoming, 0)  # POLLHUP is reported always
        poll.poll(self.limits.wall * 1000)
        late = not select.select([ending], [], [], 0)[0]
        os.close(ending)
        self._kill(pid)
        _, status, usage = os.wait4(pid, 0)
        reached_it = bool(os.read(reached, 1))
        os.close(reached)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": round(usage.ru_utime + usage.ru_stime, 4),
            "wall": round(time.monotonic() - begin, 4),
            "late": late,
            "reached": reached_it,
        }

    def _kill(self, pid: int) -> None:
        if os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # all of this namespace but this process
            return
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def keep(wire: Wire, report: int, limits: room.Limits, folder: str, marks: frozenset[str], number: int) -> NoReturn:
    """The life of a keeper. What goes wrong is told on the wire, as `{"fault": ...}`. `number`: no other keeper's."""
    try:
        if "processes" in marks:
            # Some systems give namespaces, but no right to mount in them.
            with contextlib.suppress(OSError):
                room.furnish(folder, limits.disk)
                marks |= {"files"}
        # Before the change of user, who may not be allowed to pass through the folders above.
        os.chdir("/tmp" if "files" in marks else folder)
        marks |= room.become_nobody(marks, folder, number)
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which takes it back
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        marks |= {"limits"} | _filtered()
        ended = Keeper(wire, limits, marks).run()
        _write(report, json.dumps(ended).encode())
    except WireError:
        pass
    except BaseException as error:
        with contextlib.suppress(WireError):
            wire.send({"fault": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


def _filtered() -> frozenset[str]:
    """Whether the filter of system calls can be had, tried in a process of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            filter.install()
            status = 0
        finally:
            os._exit(status)
    return frozenset(("system calls",)) if os.waitpid(pid, 0)[1] == 0 else frozenset()


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _read(file: int, start: int, most: int) -> str:
    size = os.fstat(file).st_size
    offset = max(0, size + start) if start < 0 else start
    return os.pread(file, most, offset).decode("utf-8", "replace")
