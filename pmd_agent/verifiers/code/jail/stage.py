"""What one test has to itself: an empty folder with its program in it, an input, and pipes for what it prints.

With a file system of its own all of it is mounted anew for every test, so that nothing of one test is left for the next.
Where there is none, each test has a new folder, and those of earlier tests are closed to it (unless it is the same user).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from . import room, system
from .pipes import Drain

PROGRAM = "program.py"
SHOWN = 1 << 14
"""Bytes of what a program says on stderr that are looked at, from the end."""
_ASIDE = 8
"""So many times what may be printed may be said on stderr."""
_FLAGS = system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC
_REPLY = 1 << 22
"""Bytes of what a call returns, as JSON."""


@dataclass(slots=True)
class Stage:
    """For one test, until `close`."""

    files: list[int]
    """Standard input, output, errors, and with a call what takes its reply: the program's ends."""
    drains: list[Drain] = field(default_factory=list)
    """Of output and errors: the keeper's ends."""

    def close(self) -> None:
        """All descriptors."""
        for file in [*self.files, *(drain.end for drain in self.drains)]:
            os.close(file)


class Stages:
    """Sets the stage for one test after the other. For the keeper."""

    def __init__(self, marks: frozenset[str], limits: room.Limits, folder: str, user: int | None) -> None:
        self.own_files = "files" in marks
        self.limits, self.folder, self.user = limits, folder, user
        self._count = 0

    @contextlib.contextmanager
    def set(self, source: bytes, given: bytes, *, reply: bool) -> Iterator[Stage]:
        """Ready for a program; this process's working directory is the test's. `reply`: of a call."""
        with self.place(), self._ends(given) as stage:
            self._program(source)
            if reply:
                stage.files.append(os.memfd_create("reply"))
            yield stage

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """An empty folder, as the working directory."""
        if not self.own_files:
            with self._folder():
                yield
            return
        options = f"size={self.limits.disk},nr_inodes=4k,mode=1777"
        with _mounted(room.TMP, options), _mounted(room.SHARED, options):
            os.chdir(room.TMP)
            try:
                yield
            finally:
                os.chdir("/")

    @contextlib.contextmanager
    def _folder(self) -> Iterator[None]:
        self._count += 1
        path = os.path.join(self.folder, str(self._count))
        os.mkdir(path, 0o700)
        if self.user is not None:
            os.chmod(self.folder, 0o711)
            os.chown(path, self.user, self.user)
        os.chdir(path)
        try:
            yield
        finally:
            os.chdir("/")
            if self.user is not None:
                os.chown(path, os.getuid(), os.getgid())
                if room.no_one_elses(self.user):
                    _sweep(self.user)

    def _program(self, source: bytes) -> None:
        with open(PROGRAM, "xb") as file:
            file.write(source)
        if self.user is not None:
            os.chown(PROGRAM, self.user, self.user)

    @contextlib.contextmanager
    def _ends(self, given: bytes) -> Iterator[Stage]:
        stage = Stage([])
        try:
            if self.own_files:
                with _mounted(room.ENDS, f"size={len(given) + (1 << 16)},nr_inodes=16,mode=0755"):
                    self._ends_at(room.ENDS, stage, given)
                    yield stage
            else:
                self._ends_anywhere(stage, given)
                yield stage
        finally:
            stage.close()

    def _ends_at(self, folder: str, stage: Stage, given: bytes) -> None:
        """At paths, so that a program may open its own input, output and errors by their names in /dev."""
        names = [os.path.join(folder, name) for name in room.STANDARD]
        with open(names[0], "xb") as file:
            file.write(given)
        for name in names[1:]:
            os.mkfifo(name)
            os.chmod(name, 0o622)
        system.mount("ends", folder, None, system.MS_REMOUNT | system.MS_BIND | system.MS_RDONLY | _FLAGS)
        stage.files.append(os.open(names[0], os.O_RDONLY))
        for name in names[1:]:
            self._drain(stage, os.open(name, os.O_RDONLY | os.O_NONBLOCK))
            stage.files.append(os.open(name, os.O_WRONLY))

    def _ends_anywhere(self, stage: Stage, given: bytes) -> None:
        stage.files.append(_input(given))
        for _ in room.STANDARD[1:]:
            end, theirs = os.pipe()
            os.set_blocking(end, False)
            self._drain(stage, end)
            stage.files.append(theirs)
            if self.user is not None:
                os.fchown(theirs, self.user, self.user)  # it may open its own output by its name

    def _drain(self, stage: Stage, end: int) -> None:
        """Of output the beginning is kept, of errors the end, and there may be more of them: they are not compared."""
        most = self.limits.output
        drain = Drain(end, _ASIDE * most, last=SHOWN) if stage.drains else Drain(end, most, first=most)
        stage.drains.append(drain)


@contextlib.contextmanager
def _mounted(path: str, options: str) -> Iterator[None]:
    system.mount("tmp", path, "tmpfs", _FLAGS, options)
    try:
        yield
    finally:
        system.unmount(path)


def _sweep(user: int) -> None:
    """Remove what a program, whose user was no one else's, has left where all may write."""
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid != user:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)


def _input(given: bytes) -> int:
    """A file without a name, to be read."""
    file = os.memfd_create("input")
    with open(file, "wb", closefd=False) as writing:
        writing.write(given)
    os.fchmod(file, 0o444)
    os.lseek(file, 0, os.SEEK_SET)
    with contextlib.suppress(OSError):
        reading = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
        os.close(file)
        return reading
    return file


def reply_of(stage: Stage) -> bytes:
    """What a call has answered, at most so much."""
    return os.pread(stage.files[3], _REPLY, 0)
