"""How far a long piece of work has come: told where it is done, shown by whoever watches.

Whoever shows something calls `watched`, and whoever works calls `counting`. Where nobody watches, counting does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Count = Callable[[int], None]
"""To be called with how many more are done, from any thread."""
Watcher = Callable[[int, int], None]
"""Called with how many are done, and of how many."""


def uncounted(more: int) -> None:
    """Where nobody watches, or the same work is counted further out."""


_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher | None) -> Iterator[None]:
    """Within, this watcher is told what is counted. None: nobody is, as where the same work is counted further out."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def counting(total: int) -> Count:
    """Begin to count to `total`."""
    watcher = _WATCHER.get()
    if watcher is None:
        return uncounted
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        watcher(done, total)

    watcher(0, total)
    return count
