"""A run's folder holds files and folders, and nothing that leads out of it: it may be somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

from pmd_agent.errors import RunError


def require_plain(folder: Path) -> None:
    """Raises RunError where something in the folder is neither a file nor a folder. The folder itself may be a link."""
    left = [str(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                found = list(entries)
        except FileNotFoundError:  # a running run has just removed it
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                left.append(entry.path)
            elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):
                what = f"a link to {os.readlink(entry.path)}" if entry.is_symlink() else "no plain file"
                raise RunError(
                    f"{entry.path} is {what}: pmd follows nothing that leads out of a run's folder.",
                    "Put the file itself there, or take the entry away.",
                )


def no_link(path: str, flags: int) -> int:
    """An opener for `open`: OSError (ELOOP) where the path is a link."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
