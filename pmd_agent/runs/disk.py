"""What a disk or a stream refuses, told as one message, whichever library met it first.

torch, safetensors, SQLite and Chroma each have their own words and classes for a full disk; the system's own OSError is
sometimes behind them and sometimes lost.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmd_agent.errors import PMDError, RunError

_ROOM = "Make room, or name another place; a run that has begun goes on with --resume."
_RIGHTS = "Give permission to write there, or name another place."
_STORE = (
    "Make room if there is none, and go on with --resume; a memory that was damaged is restored from a copy of the run."
)
"""Chroma does not say what it met: a full disk is 'Error in compaction'."""
_HINTS = {errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EFBIG: _ROOM, errno.EROFS: _RIGHTS, errno.EACCES: _RIGHTS}
_HINTS[errno.EPERM] = _RIGHTS
_HINTS[errno.EIO] = "Look after the disk; a run that has begun goes on with --resume."
_SAID = re.compile(
    r"No space left on device|Disk quota exceeded|database or disk is full|disk I/O error|File too large"
    r"|readonly database|unexpected pos \d+ vs \d+|PytorchStreamWriter"
)
"""Of exceptions that are no OSError: torch says the last two where it could not write on."""


def refusal(error: BaseException, where: Path | None = None) -> RunError | None:
    """The message, where a disk is behind an exception; None for any other. `where` stands in for a file that is not named."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in _HINTS:
            reason = cause.strerror or os.strerror(cause.errno)
            return _refused(cause.filename or where, reason, _HINTS[cause.errno])
        if not isinstance(cause, PMDError) and (said := _SAID.search(str(cause))):
            by_torch = said[0].startswith(("unexpected", "Pytorch"))
            return _refused(where, f"the disk took no more{_free(where)}" if by_torch else said[0], _ROOM)
        if (type(cause).__module__, type(cause).__name__) == ("chromadb.errors", "InternalError"):
            what = f"The memory in {where}" if where else "The memory"
            return RunError(f"{what} fails: {' '.join(str(cause).split())}{_free(where)}.", _STORE)
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def told(where: Path) -> Iterator[None]:
    """Within, what a disk refuses is a RunError. Anything else passes as it is."""
    try:
        yield
    except PMDError:
        raise
    except Exception as error:
        if (found := refusal(error, where)) is not None:
            raise found from error
        raise


@contextmanager
def writing(where: Path) -> Iterator[None]:
    """As `told`, where nothing but files is at work: every OSError is one that a user can mend."""
    with told(where):
        try:
            yield
        except OSError as error:
            found = refusal(error, where) or _refused(error.filename or where, error.strerror or str(error), _RIGHTS)
            raise found from error


def _free(where: Path | None) -> str:
    """What is free on the disk of a path, in brackets, for errors that do not say what they met."""
    try:
        free = shutil.disk_usage(where).free if where else None
    except OSError:
        return ""
    return "" if free is None else f" ({free / 2**20:,.1f} MiB are free there)"


def _refused(where: object, reason: str, hint: str) -> RunError:
    what = f"{where} cannot be written" if where else "Nothing more can be written"
    return RunError(f"{what}: {reason}.", hint)
