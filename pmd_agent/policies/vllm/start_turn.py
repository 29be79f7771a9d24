"""One server of this user's at a time starts on a GPU.

A server counts the free memory of its card while it starts; what another takes meanwhile it takes for its own, or finds
missing, and one of the two does not start. So each holds a lock on every card that it is to use, from before its process begins
until it answers. The system frees the lock of a process that has ended, however it ended.

Servers of other users, and those that others than pmd start, are not seen.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pmd_agent.errors import PolicyError
from pmd_agent.policies.vllm.server_arguments import ServerSettings, has_gpu

LOOK_SECONDS = 0.25
SAY_SECONDS = 15.0
"""Between two lines that say what is waited for."""

_open: set[int] = set()


def devices(settings: ServerSettings) -> tuple[str, ...]:
    """The cards that a server is to use, as CUDA_VISIBLE_DEVICES names them, sorted; none without a GPU."""
    if not has_gpu():
        return ()
    seen = settings.gpus or os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = settings.tensor_parallel * settings.data_parallel
    names = [name.strip() for name in seen.split(",") if name.strip()] or list(map(str, range(count)))
    return tuple(sorted(set(names[:count])))


@contextmanager
def turn(cards: tuple[str, ...], what: str, *, seconds: float, say: Callable[[str], None]) -> Iterator[None]:
    """Within, no other server of this user's starts on these cards. Raises PolicyError after so many seconds of waiting.

    Cards are taken in one order by all, so that no two wait for each other.
    """
    until = time.monotonic() + seconds
    with ExitStack() as held:
        for card in cards:
            held.enter_context(_one(card, what, until, seconds, say))
        yield


@contextmanager
def _one(card: str, what: str, until: float, seconds: float, say: Callable[[str], None]) -> Iterator[None]:
    import fcntl

    path = folder() / f"gpu-{re.sub(r'[^A-Za-z0-9.-]', '_', card)}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    _open.add(descriptor)
    try:
        said = float("-inf")
        while not _taken(descriptor):
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
            if time.monotonic() > until:
                raise PolicyError(
                    f"GPU {card} was not free to start a server on: {holder} has been starting one for over {seconds:.0f} s.",
                    "End it, choose other GPUs (policy.gpus), or wait longer (policy.start_seconds).",
                )
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                say(f"waiting for GPU {card}: {holder} is starting a server there")
            time.sleep(LOOK_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} ({what})".encode("utf-8", "replace")[:200], 0)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        if descriptor in _open:
            _open.discard(descriptor)
            os.close(descriptor)


def _taken(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def folder() -> Path:
    """This user's, on this machine. Raises PolicyError where it is somebody else's."""
    path = Path(tempfile.gettempdir()) / f"pmd-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != os.getuid():
        raise PolicyError(f"{path} belongs to somebody else.", "Have it removed, or set TMPDIR to a folder of yours.")
    return path


def _release_in_child() -> None:
    # A forked child shares the lock: left open there, it would outlive a killed owner.
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


os.register_at_fork(after_in_child=_release_in_child)
