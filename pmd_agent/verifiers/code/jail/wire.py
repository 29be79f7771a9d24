"""Messages over a pair of pipes: one JSON object a line. What the other side sends is never trusted to be one."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any


class WireError(Exception):
    """No message, and why."""


class Gone(WireError):
    """The other side has closed its end, or ended."""


class Late(WireError):
    """The deadline has passed."""


class Garbled(WireError):
    """What came is no message, or too long for one."""


def parsed(data: bytes, limit: int, parts: int) -> Any:
    """JSON of at most so many bytes, and so many lists and objects. Raises Garbled."""
    if len(data) > limit or data.count(b"[") + data.count(b"{") > parts:
        raise Garbled("too large to be read")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Garbled("no JSON") from None


class Wire:
    """Both ends are this object's own: `close` closes them. Not thread-safe.

    `limit`: bytes of a message that is taken; `parts`: lists and objects in it. Each costs some hundred times its length in
    memory, and the reader's time, so they are counted before anything is made of them.
    """

    def __init__(self, incoming: int, outgoing: int, *, limit: int = 1 << 28, parts: int = 1 << 28) -> None:
        self.incoming, self.outgoing, self.limit, self.parts = incoming, outgoing, limit, parts
        self._rest = bytearray()

    def send(self, message: dict[str, Any], deadline: float | None = None, *, after: bytes = b"") -> None:
        """`after`: bytes that follow it. Raises Gone, or Late at `deadline` (of time.monotonic) where no one reads."""
        data = memoryview(json.dumps(message).encode() + b"\n" + after)
        while data:
            self._wait(self.outgoing, select.POLLOUT, deadline)
            try:
                data = data[os.write(self.outgoing, data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone(str(error)) from None

    def receive(self, deadline: float | None = None) -> dict[str, Any]:
        """The next message. Raises Gone, Late or Garbled."""
        seen = 0
        while (end := self._rest.find(b"\n", seen)) < 0:
            seen = len(self._rest)
            if seen > self.limit:
                raise Garbled(f"a message of more than {self.limit} bytes")
            self._more(deadline)
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        message = parsed(line, self.limit, self.parts)
        if not isinstance(message, dict):
            raise Garbled("no JSON object")
        return message

    def receive_bytes(self, count: int, deadline: float | None = None) -> bytes:
        """What follows a message: so many bytes. Raises Gone or Late."""
        while len(self._rest) < count:
            self._more(deadline)
        found = bytes(self._rest[:count])
        del self._rest[:count]
        return found

    def _more(self, deadline: float | None) -> None:
        self._wait(self.incoming, select.POLLIN, deadline)
        try:
            part = os.read(self.incoming, 1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise Gone(str(error)) from None
        if not part:
            raise Gone("closed")
        self._rest += part

    def close(self) -> None:
        """Once, and for all."""
        for end in {self.incoming, self.outgoing} - {-1}:
            os.close(end)
        self.incoming = self.outgoing = -1

    def _wait(self, end: int, event: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(end, event)
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Late("the deadline has passed")
            if poll.poll(None if left is None else left * 1000 + 1):
                return
