"""Empties a pipe that a program writes to, and keeps what may be looked at."""

from __future__ import annotations

import os

_PART = 1 << 16
_PARTS = 64


class Drain:
    """`end`: to read from, not blocking. `most`: bytes that may come; of them `first` or `last` are kept, at most so many."""

    def __init__(self, end: int, most: int, *, first: int = 0, last: int = 0) -> None:
        self.end, self.most, self.first, self.last = end, most, first, last
        self.count = 0
        self._kept = bytearray()

    @property
    def kept(self) -> bytes:
        return bytes(self._kept)

    @property
    def over(self) -> bool:
        """Whether more has come than may."""
        return self.count > self.most

    def part(self) -> bool:
        """Take what is there, as far as one read gives it; False where there is nothing."""
        try:
            part = os.read(self.end, _PART)
        except BlockingIOError:
            return False
        self.count += len(part)
        self._kept += part
        if self.last:
            del self._kept[: -self.last]
        else:
            del self._kept[self.first :]
        return bool(part)

    def rest(self) -> None:
        """Take what is still there; no more than a pipe holds, in case that somebody still writes."""
        for _ in range(_PARTS):
            if not self.part():
                return
