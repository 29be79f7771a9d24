"""A memory's folder as it is at one moment, copied: to be read without a lock while its owner goes on writing.

Chroma's files are copied and then looked at again: a copy counts where no file has changed from before to after. It is then
what a kill at that moment would have left, which SQLite and this store mend when they are opened; what a step had
half written, `rollback` takes back in the copy. The folder itself is only read: it may be on a disk that cannot be written.

Run as a script, the file copies in a process of its own: `snapshot.py FROM TO SECONDS`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

QUIET = 0.05
"""Seconds since the last change: shorter than what a file's time can tell apart is no proof that nothing changed."""
PATIENCE = 30.0
"""Seconds after which a folder that changes all the time is given up."""

RESTLESS = 75
"""The script's exit status where that was so."""


class Restless(Exception):
    """The folder was never still for as long as a copy takes."""


def copy_folder(source: Path, target: Path, *, apart: bool = False, patience: float = PATIENCE) -> None:
    """Copy a memory's folder, but for its lock. Raises Restless, and OSError where it cannot be read or copied.

    `apart`: by another process. One that has the database open must not open its files a second time: closing them
    would drop the locks that SQLite holds on them.
    """
    if apart:
        command = [sys.executable, "-I", __file__, str(source), str(target), str(patience)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise (Restless if done.returncode == RESTLESS else OSError)(done.stderr.strip().rpartition("\n")[2])
        return
    until = time.monotonic() + patience
    while True:
        before = _files(source)
        newest = max((changed for _, changed in before.values()), default=0) / 1e9
        if abs(time.time() - newest) >= QUIET:
            try:
                _copy(source, target, before)
            except FileNotFoundError:
                pass  # a file went while it was copied: that is a change
            else:
                if _files(source) == before:
                    return
        if time.monotonic() > until:
            raise Restless(f"{source} changes all the time")
        time.sleep(QUIET)


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size, and when it was changed, of each file."""
    found = {}
    for path in folder.rglob("*"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file() and path.name != "lock":
            found[str(path.relative_to(folder))] = state.st_size, state.st_mtime_ns
    return found


def _copy(source: Path, target: Path, names: dict[str, tuple[int, int]]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for name in names:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, path)


if __name__ == "__main__":
    try:
        copy_folder(Path(sys.argv[1]), Path(sys.argv[2]), patience=float(sys.argv[3]))
    except Restless as error:
        sys.stderr.write(str(error))
        sys.exit(RESTLESS)
