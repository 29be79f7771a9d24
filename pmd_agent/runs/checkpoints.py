"""The folders of checkpoints: each whole or not there, the newest few kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pmd_agent.runs.files import TEMPORARY, discard, sync, sync_tree
from pmd_agent.runs.whole import seal


def number_of(path: Path) -> int:
    """Of `step-000012`, whatever follows."""
    return int(path.name.removeprefix("step-").split(".")[0])


def committed(folder: Path, next_step: int) -> list[Path]:
    """Those up to a step, the newest first."""
    found = [c for c in folder.glob("step-*") if c.suffix != TEMPORARY and number_of(c) <= next_step]
    return sorted(found, reverse=True)


def replace_folder(folder: Path, save: Callable[[Path], None]) -> Path:
    """A folder that `save` fills, sealed, in the place of the one that was there. What fails leaves nothing of it."""
    temporary = folder.with_name(folder.name + TEMPORARY)
    for leftover in (temporary, folder):
        if leftover.exists():
            discard(leftover)
    temporary.mkdir(parents=True)
    try:
        save(temporary)
        seal(temporary)
        sync_tree(temporary)
    except Exception:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    os.replace(temporary, folder)
    sync(folder.parent)
    return folder


def prune(folder: Path, next_step: int, keep: int) -> None:
    """Keep the newest committed checkpoints, and nothing that is later or temporary."""
    kept = committed(folder, next_step)[:keep]
    for checkpoint in folder.glob("step-*"):
        if checkpoint not in kept and checkpoint.exists():
            discard(checkpoint)
