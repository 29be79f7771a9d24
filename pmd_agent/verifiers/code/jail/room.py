"""The room that a program runs in: namespaces, a file system of its own, another user, limits.

What the system does not allow is left out; what is in force is returned, and whoever asked decides whether it is enough.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import filter, system

_ALONE = system.CLONE_NEWPID | system.CLONE_NEWNET | system.CLONE_NEWNS | system.CLONE_NEWIPC | system.CLONE_NEWUTS
_FIRST_USER = 1 << 30
"""With this machine's process numbers from here on, users that no one else is. They need no entry anywhere."""
_NOBODY = 65534
TMP, SHARED = "/tmp", "/dev/shm"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
ENDS = "/ends"
"""Where the ends of a test's standard input, output and errors lie, by these names."""
STANDARD = ("stdin", "stdout", "stderr")
_KEPT = {
    2: system.MS_NOSUID,
    4: system.MS_NODEV,
    8: system.MS_NOEXEC,
    1024: system.MS_NOATIME,
    2048: system.MS_NODIRATIME,
    4096: system.MS_RELATIME,
}
"""Flags of a mount, as statvfs has them, that whoever remounts it in a user namespace must repeat. Numbers, since this module
is imported on systems, too, where `os` has no such names."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one program. Bytes and seconds."""

    seconds: float = 6.0
    """Of processor time, for one test."""
    wall: float = 15.0
    """By the clock, for one test: also a program that sleeps ends."""
    memory: int = 1 << 30
    """Address space."""
    output: int = 1 << 23
    """Of one file, and so of what it prints."""
    disk: int = 1 << 26
    """All that it writes into /tmp, and again into /dev/shm, where these are file systems of its own."""
    threads: int = 128


def look() -> None:
    """Find once, for all forks of this process, what of the system programs may read."""
    _readable(), _installed()
    if filter.available():
        filter.always()


def leave() -> frozenset[str]:
    """New namespaces for this process's children: `processes`, `network`, `files`; empty where none are to be had.

    Real root needs no user namespace, and then the files of the interpreter may lie where only root reaches them.
    """
    user, group = os.geteuid(), os.getegid()
    ways = [_ALONE, _ALONE | system.CLONE_NEWUSER] if user == 0 else [_ALONE | system.CLONE_NEWUSER]
    for flags in ways:
        try:
            system.unshare(flags)
        except OSError:
            continue
        if flags & system.CLONE_NEWUSER:
            with contextlib.suppress(OSError):  # kernels before 3.19 have no such file
                Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            return frozenset(("processes", "network", "user namespace"))
        return frozenset(("processes", "network"))
    return frozenset()


def furnish(folder: str) -> None:
    """A root of its own at `folder`: libraries and the standard library to read, places for what a test gets, nothing else.

    For a process in a mount namespace of its own. Raises OSError. There is no proc file system: of /proc and /dev there are
    the paths by which programs name their standard input, output and errors.
    """
    system.mount("none", "/", None, system.MS_REC | system.MS_PRIVATE)
    system.mount("room", folder, "tmpfs", system.MS_NOSUID, "size=1m,nr_inodes=4k,mode=0755")
    for path in _readable():
        _show(path, folder)
    for packages in _installed():
        system.mount("none", folder + packages, "tmpfs", system.MS_RDONLY, "size=4k,nr_inodes=4,mode=0755")
    for device in _DEVICES:
        if not os.path.exists(device):
            continue
        target = Path(folder + device)
        target.parent.mkdir(exist_ok=True)
        target.touch()
        system.mount(device, str(target), None, system.MS_BIND)
    for place in ("/dev/fd", "/proc/self/fd", TMP, SHARED, ENDS):
        os.makedirs(folder + place)
    for number, name in enumerate(STANDARD):
        for link in (f"/dev/{name}", f"/dev/fd/{number}", f"/proc/self/fd/{number}"):
            os.symlink(f"{ENDS}/{name}", folder + link)
        os.symlink("/dev/null", f"{folder}{ENDS}/{name}")  # where nothing is mounted there
    system.mount("room", folder, None, system.MS_REMOUNT | system.MS_BIND | system.MS_RDONLY | system.MS_NOSUID)
    system.pivot_into(folder)


def no_one_elses(user: int) -> bool:
    """Whether only one program runs as this user."""
    return user >= _FIRST_USER


def become(user: int | None) -> None:
    """Give up root, or a namespace's capabilities, for good. None: stay the user that this is. Raises OSError."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        if no_one_elses(user):  # it may look at its own descriptors in /proc, and no one else is let in
            system.prctl(system.PR_SET_DUMPABLE, 1)
    system.drop_capabilities()
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)


def user_to_be(marks: frozenset[str], number: int) -> int | None:
    """The user that programs are to run as, None for this one. `number`: no other program's."""
    if os.geteuid() != 0 or "user namespace" in marks:
        return None
    for user in (_FIRST_USER + number, _NOBODY):
        try:
            os.setgroups([])
            os.setegid(user)
            os.setegid(0)
            os.seteuid(user)
            os.seteuid(0)
        except OSError:
            continue
        return user
    return None


def set_limits(limits: Limits, *, count_processes: bool) -> None:
    """The process's own resource limits, soft and hard alike. `count_processes`: no one else runs under this user."""
    seconds = max(1, int(limits.seconds + 0.999))
    # A second more by hand: at the soft limit comes a signal that a program could catch.
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_FSIZE, limits.output),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 256),
    ):
        _limit(kind, most, most)
    # Deep recursion through functions written in C takes the stack.
    _limit(resource.RLIMIT_STACK, 1 << 27, 1 << 27)
    if count_processes:
        _limit(resource.RLIMIT_NPROC, limits.threads, limits.threads)


def _limit(kind: int, soft: int, hard: int) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


@cache
def _readable() -> list[str]:
    """What an interpreter that runs already may still have to read: the standard library, and shared libraries."""
    paths = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"]
    paths += [os.path.join(sys.base_prefix, "lib"), os.path.dirname(os.__file__)]
    kept: list[str] = []
    for path in paths:
        if os.path.isdir(path) and not any(
            path == k or path.startswith(k + "/") for k in kept if not os.path.islink(k)
        ):
            kept.append(path)
    return kept


@cache
def _installed() -> list[str]:
    """Folders of packages that are not the standard library's, within what is readable."""
    roots = [path for path in _readable() if not os.path.islink(path)]
    found = {str(p) for root in roots for p in Path(root).glob("python*/*-packages")}
    found |= {str(p) for p in Path(os.path.dirname(os.__file__)).glob("*-packages")}
    return sorted(path for path in found if os.path.isdir(path) and not os.path.islink(path))


def _show(path: str, folder: str) -> None:
    """`path`, read-only, at the same place under `folder`."""
    target = folder + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    os.mkdir(target)
    system.mount(path, target, None, system.MS_BIND | system.MS_REC)
    had = os.statvfs(path).f_flag
    kept = sum(flag for name, flag in _KEPT.items() if had & name)
    system.mount(path, target, None, system.MS_REMOUNT | system.MS_BIND | system.MS_RDONLY | kept)
