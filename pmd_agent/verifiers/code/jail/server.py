"""Stays warm: has everything imported that a program needs, and forks a process for each.

    python -c "..." FD

FD is a socket. For each program comes one message, JSON with `limits`, `lifetime` (seconds) and `folder`, and three
descriptors: where its keeper reads, where it writes, and where it reports its end. The answer is the process's id. The
socket's end is the server's end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from . import python, room, system
from .keeper import keep
from .wire import Wire


def serve(link: socket.socket) -> None:
    """Until the link is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the owner to deal with
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    folders: list[str] = []
    while True:
        message, ends, _, _ = socket.recv_fds(link, 1 << 16, 3)
        if not message:
            return _remove(folders)
        told = json.loads(message)
        folders.append(told["folder"])
        if len(folders) > 256:
            folders = [folder for folder in folders if os.path.isdir(folder)]
        pid = os.fork()
        if pid == 0:
            try:
                link.close()
                _begin(told, *ends)
            finally:
                os._exit(1)
        for end in ends:
            os.close(end)
        link.sendall(f"{pid}\n".encode())


def _begin(told: dict[str, Any], incoming: int, outgoing: int, report: int) -> NoReturn:
    """The process above a keeper: it waits, and clears up what a keeper without a namespace leaves."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)
    number = os.getpid()
    marks = frozenset(("group", "time", "folder")) | room.leave()
    pid = os.fork()
    if pid == 0:
        keep(Wire(incoming, outgoing), report, room.Limits(**told["limits"]), told["folder"], marks, number)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(told["lifetime"])  # also where whoever asked no longer watches
    os.close(incoming)
    os.close(outgoing)
    os.waitpid(pid, 0)
    if "processes" not in marks:
        _sweep()
    os._exit(0)  # and with it the last end of `report`


def _remove(folders: list[str]) -> None:
    """Whoever asked for a program removes its folder, unless killed; then its program ends as well, but not at once."""
    for _ in range(50):
        folders = [folder for folder in folders if os.path.isdir(folder)]
        if not folders:
            return
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


def _sweep() -> None:
    """Kill all that comes of this process, until there is nothing more."""
    while left := _descendants():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, 0):
                continue
        except ChildProcessError:
            continue


def _descendants() -> list[int]:
    """Living processes whose line of parents leads here; zombies are none."""
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


def main() -> None:
    """Serve on the socket whose number is the first argument."""
    del sys.path[0]  # where this package lies: for the program there is the standard library only
    python.prepare()
    room.look()
    serve(socket.socket(fileno=int(sys.argv[1])))
