"""One process at a time writes to a run's folder."""

from __future__ import annotations

import os
from pathlib import Path

from pmd_agent.errors import RunError
from pmd_agent.runs.plain_files import no_link

_held: dict[Path, int] = {}


def lock_folder(folder: Path) -> None:
    """Claim the folder for this process until it ends, however it ends, or unlocks it. Raises RunError where another has it."""
    import fcntl

    folder = folder.resolve()
    if folder in _held:
        return
    descriptor = no_link(str(folder / "lock"), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise RunError(
            f"{folder} is being written by process {owner}.",
            "Wait until it ends, or give another name with --name NAME.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    _held[folder] = descriptor


def unlock_folder(folder: Path) -> None:
    """Give the folder up; nothing where this process does not have it."""
    descriptor = _held.pop(folder.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def is_locked_here(folder: Path) -> bool:
    """Whether this process has the folder."""
    return folder.resolve() in _held


def writer_of(folder: Path) -> int | None:
    """The process that writes to the folder, as far as that can be told without asking for the lock; None where none does."""
    try:
        owner = int((folder / "lock").read_text("ascii"))
        os.kill(owner, 0)
    except PermissionError:  # it is another user's
        return owner
    except (OSError, ValueError, OverflowError):
        return None
    try:  # the number may be another process's by now; where the system lists its locks, that can be told
        locks = Path("/proc/locks").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return owner
    return owner if not locks or any("FLOCK" in line and f" {owner} " in line for line in locks) else None


def _release_in_child() -> None:
    # A forked child shares the lock: left open there, it would outlive a killed owner.
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)
