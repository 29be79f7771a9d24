"""Empties a pipe that a program writes to, and keeps what may be looked at."""

from __future__ import annotations

import os

_PART = 1 << 16
_PARTS = 64


class Drain:
    """`end`: to read from, not blocking. `most`: bytes that are kept; of a `tail` the last of them, else the first."""

    def __init__(self, end: int, most: int, *, tail: bool = False) -> None:
        self.end, self.most, self.tail = end, most, tail
        self.over = False
        """Whether there was more than is kept."""
        self._kept = bytearray()

    @property
    def kept(self) -> bytes:
        return bytes(self._kept)

    def part(self) -> bool:
        """Take what is there, as far as one read gives it; False where there is nothing."""
        try:
            part = os.read(self.end, _PART)
        except BlockingIOError:
            return False
        self._kept += part
        if len(self._kept) > self.most:
            self.over = True
            if self.tail:
                del self._kept[: -self.most]
            else:
                del self._kept[self.most :]
        return bool(part)

    def rest(self) -> None:
        """Take what is still there; no more than a pipe holds, in case that somebody still writes."""
        for _ in range(_PARTS):
            if not self.part():
                return
