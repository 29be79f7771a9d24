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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import filter, player, room, script, system
from .pipes import Drain
from .stage import PROGRAM, Stages, reply_of
from .wire import Gone, Wire, WireError

_NOTHING = "/dev/null"


class Keeper:
    """One program, and the process that it runs in, as `user` (None: as this one)."""

    def __init__(self, wire: Wire, limits: room.Limits, marks: frozenset[str], folder: str, user: int | None) -> None:
        self.wire, self.limits, self.marks, self.user = wire, limits, marks, user
        self.stages = Stages(marks, limits, folder, user)

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
            self._test(program, told)

    def _test(self, program: dict[str, Any], told: dict[str, Any]) -> None:
        """Reports how the test ended, and behind that what the program gave, which is nothing but bytes here."""
        # Lone surrogates are no UTF-8: the program does not compile, as it is not one.
        source = program["source"].encode("utf-8", "surrogatepass")
        given = told.get("input", "").encode("utf-8", "surrogatepass")
        called = "args" in told
        with self.stages.set(source, given, reply=called) as stage:
            if called:
                started = self._start(lambda: player.play_call(program, told), stage.files)
            else:
                started = self._start(lambda: script.play(PROGRAM), stage.files)
            ended = self._watch(started, float(told["wall"]), stage.drains)
            output, errors = stage.drains
            parts = {"output": output.kept, "errors": errors.kept, "reply": reply_of(stage) if called else b""}
        sizes = {name: len(part) for name, part in parts.items()}
        self.wire.send({**ended, "over": output.over or errors.over, "sizes": sizes}, after=b"".join(parts.values()))

    def _talk(self, play: Callable[[], int]) -> dict[str, Any]:
        nothing = os.open(_NOTHING, os.O_RDWR)
        with self.stages.place():
            started = self._start(play, [nothing, nothing, nothing], keep_wire=True)
            return self._watch(started, self.limits.wall)

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
            room.become(self.user)
            system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
            room.set_limits(self.limits, count_processes=bool(self.marks & {"user", "user namespace"}))
            if "system calls" in self.marks:
                filter.install()
            os.write(last, b".")
            os.close(last)
            status = play()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
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

    def _watch(self, started: tuple[int, int], seconds: float, drains: Sequence[Drain] = ()) -> dict[str, Any]:
        """Wait until the process ends, runs out of time, prints too much, or nobody asks any more; leave none behind."""
        pid, reached = started
        begin = time.monotonic()
        ending = os.pidfd_open(pid)
        late = self._wait(ending, begin + seconds, drains)
        os.close(ending)
        self._kill(pid)
        _, status, usage = os.wait4(pid, 0)
        with contextlib.suppress(ChildProcessError):
            while os.getpid() == 1 and os.waitpid(-1, 0):  # what it has left: all of it is killed
                continue
        for drain in drains:
            drain.rest()
        reached_it = bool(os.read(reached, 1))
        os.close(reached)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": round(usage.ru_utime + usage.ru_stime, 4),
            "wall": round(time.monotonic() - begin, 4),
            "late": late,
            "reached": reached_it,
        }

    def _wait(self, ending: int, until: float, drains: Sequence[Drain]) -> bool:
        """Whether time ran out first."""
        poll = select.poll()
        poll.register(ending, select.POLLIN)
        poll.register(self.wire.incoming, 0)  # POLLHUP is reported always
        for drain in drains:
            poll.register(drain.end, select.POLLIN)
        waiting = {drain.end: drain for drain in drains}
        while (left := until - time.monotonic()) > 0:
            found = [end for end, _ in poll.poll(left * 1000 + 1)]
            for end in found:
                if end in waiting:
                    waiting[end].part()
            if any(end not in waiting for end in found) or any(drain.over for drain in drains):
                return False
        return True

    def _kill(self, pid: int) -> None:
        """The process and, within a namespace, all else but this one; before it is waited for, so the number is its own."""
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
        with contextlib.suppress(OSError):  # whoever runs out of memory here is to be ended, not somebody else
            Path("/proc/self/oom_score_adj").write_text("1000")
        if "processes" in marks:
            # Some systems give namespaces, but no right to mount in them.
            with contextlib.suppress(OSError):
                room.furnish(folder)
                marks |= {"files"}
        # The keeper stays who it is: its program, another user or without its capabilities, can do nothing to it.
        user = room.user_to_be(marks, number)
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)  # after a change of user, which takes it back
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        marks |= {"limits"} | ({"user"} if user is not None else set())
        marks |= {"system calls"} if filter.available() else set()
        ended = Keeper(wire, limits, marks, folder, user).run()
        _write(report, json.dumps(ended).encode())
    except WireError:
        pass
    except BaseException as error:
        with contextlib.suppress(WireError):
            wire.send({"fault": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
