"""The seccomp filter: system calls that a program may not make. They fail with EPERM, the program goes on.

A list of what is refused, not of what is allowed: it takes away new processes (threads stay), other programs, the network,
other processes, namespaces, mounts, memory that no limit counts, and corners of the kernel that no solution needs. What a
process may do to itself stays: signals, its own limits, a pair of sockets between its threads (asyncio has one).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache

from .system import MACHINE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, prctl

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
"""x86_64 has each call a second time, from this number on."""

# name: its number on x86_64, on aarch64 (None: there is none)
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "setsockopt": (54, 208),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "get_robust_list": (274, 100),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "ioprio_set": (251, 30),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "seccomp": (317, 277),
}
_CLONE = (56, 220)
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_SOCKETPAIR = (53, 199)
_AF_UNIX, _SOCK_STREAM, _KIND_OF_SOCKET = 1, 1, 0xF
_SIGNALS = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
"""Whose first argument is whom they reach."""
_PRLIMIT64 = (302, 261)
_FCNTL = (72, 25)
_FCNTL_REFUSED = (8, 10, 15, 1024, 1026)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: signals by way of a file."""
_IOCTL = (16, 29)
_IOCTL_REFUSED = (0x8901, 0x8902, 0x5412)
"""FIOSETOWN, SIOCSPGRP, TIOCSTI."""

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_REFUSE = 0x00050000 | errno.EPERM
_UNKNOWN = 0x00050000 | errno.ENOSYS
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
"""Offsets in struct seccomp_data; of an argument its lower half, on little-endian machines. All that is looked at are ints."""

_Step = tuple[int, int, int, int]
"""(operation, steps to skip if true, if false, operand)"""


def available() -> bool:
    """Whether this system has filters and this module knows its calls."""
    try:
        prctl(PR_SET_SECCOMP, 2)  # without a program, which where there are filters is a wrong address
    except OSError as error:
        return MACHINE in _AUDIT and error.errno == errno.EFAULT
    return False


def install() -> None:
    """From here on, for this process and its threads. Raises OSError where the kernel or machine has no seccomp."""
    if MACHINE not in _AUDIT:
        raise OSError(errno.ENOSYS, f"no list of system calls for {MACHINE}")
    steps = always() + _packed(_of_others(os.getpid()))
    code = ctypes.create_string_buffer(steps)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(steps) // 8, ctypes.addressof(code)))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(header)))


@cache
def always() -> bytes:
    """The filter's first and larger part, the same for all processes."""
    at = 0 if MACHINE == "x86_64" else 1
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _AUDIT[MACHINE]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if MACHINE == "x86_64":
        steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE)]
    for numbers in _REFUSED.values():
        number = numbers[at]
        if number is not None:
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    # clone3's flags lie in memory, where a filter cannot look: the C library falls back on clone.
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _UNKNOWN)]
    steps += _of(
        _CLONE[at], [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _REFUSE)]
    )
    steps += _of(_SOCKETPAIR[at], _only_a_pair_of_streams())
    steps += _of(_FCNTL[at], _second_is_not(*_FCNTL_REFUSED))
    steps += _of(_IOCTL[at], _second_is_not(*_IOCTL_REFUSED))
    return _packed(steps)


def _of_others(own: int) -> list[_Step]:
    """The second part: what a process may do to itself. `own`: its number, to itself."""
    at = 0 if MACHINE == "x86_64" else 1
    steps: list[_Step] = []
    for numbers in _SIGNALS.values():
        steps += _of(numbers[at], _first_is(own))
    # A process may look at its own limits, and lower them, not at another's.
    steps += _of(_PRLIMIT64[at], _first_is(0, own))
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _packed(steps: list[_Step]) -> bytes:
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def _of(number: int, steps: list[_Step]) -> list[_Step]:
    """`steps` for this call alone, which is allowed if they come to their end."""
    return [(_EQUAL, 0, len(steps) + 1, number), *steps, (_RETURN, 0, 0, _ALLOW)]


def _first_is(*allowed: int) -> list[_Step]:
    left = range(len(allowed), 0, -1)
    tests = [(_EQUAL, skip, 0, value) for skip, value in zip(left, allowed, strict=True)]
    return [(_LOAD, 0, 0, _FIRST_ARGUMENT), *tests, (_RETURN, 0, 0, _REFUSE)]


def _second_is_not(*refused: int) -> list[_Step]:
    steps: list[_Step] = [(_LOAD, 0, 0, _SECOND_ARGUMENT)]
    for value in refused:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _REFUSE)]
    return steps


def _only_a_pair_of_streams() -> list[_Step]:
    """Two ends of this process's own. Of streams, since datagrams could be sent to a name."""
    return [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_AND, 0, 0, _KIND_OF_SOCKET),
        (_EQUAL, 1, 0, _SOCK_STREAM),
        (_RETURN, 0, 0, _REFUSE),
    ]
