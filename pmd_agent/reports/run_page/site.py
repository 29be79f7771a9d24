"""The server of `pmd watch`: one page and its data, for whoever has the token, read from files that are whole or not there."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from pmd_agent.errors import PMDError
from pmd_agent.reports.run_page.page import policy, served
from pmd_agent.reports.run_page.source import Source
from pmd_agent.runs.files import to_json

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_ROLLOUTS = re.compile(r"rollouts-(\d{1,9})\.json")
SLOW = ("memories.json", "problems.json")
"""What may take seconds, and nobody else is to wait for: each is asked for once at a time, as is all the rest together."""
HOSTS = ("127.0.0.1", "localhost")
"""What a browser may call this machine. Any other name leads here by a page that pretends to be ours."""


class Answer(NamedTuple):
    """What a request gets."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


class Site:
    """An ASGI application. Every address begins with the token; whoever does not know it learns nothing."""

    def __init__(self, source: Source, token: str) -> None:
        self.source, self._token = source, token
        self._turns = {name: asyncio.Lock() for name in ("", *SLOW)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        slow = next((name for name in SLOW if str(scope["path"]).endswith(f"/{name}")), "")
        async with self._turns[slow]:
            answer = await asyncio.to_thread(self.answer, scope)
        headers = {
            "content-type": answer.kind,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "content-security-policy": policy("'self'"),
        }
        body = answer.body
        if len(body) > 2_000 and b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b""):
            body, headers["content-encoding"] = await asyncio.to_thread(gzip.compress, body, 1), "gzip"
        headers["content-length"] = str(len(body))
        raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def answer(self, scope: Scope) -> Answer:
        """To one request. What goes wrong in the run's folder is said as JSON, which the page shows."""
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").rpartition(":")[0]
        _, token, name = (*str(scope["path"]).split("/", 2), "", "")[:3]
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode("ascii"))
        if not known or host not in HOSTS:
            return Answer(403, b"pmd watch: open the address that the terminal shows.\n")
        if scope["method"] not in ("GET", "HEAD"):
            return Answer(405)
        if name == "":
            return Answer(200, served(self.source.path.name).encode("utf-8"), "text/html; charset=utf-8")
        try:
            found = self._data(name, scope["query_string"].decode("latin-1"))
        except PMDError as error:
            return Answer(503, to_json({"error": error.message}), "application/json")
        except (OSError, ValueError, KeyError) as error:  # a file that a resumed run takes back in this moment
            return Answer(503, to_json({"error": f"{type(error).__name__}: {error}"}), "application/json")
        if found is None:
            return Answer(404, b"There is no such thing.\n")
        return found if isinstance(found, Answer) else Answer(200, to_json(found), "application/json")

    def _data(self, name: str, seen: str) -> Any:
        """The data of that name; None where there is none. `seen`: the version of the overview that the page has."""
        if name == "overview.json":
            return Answer(204) if seen and seen == self.source.version() else self.source.overview()
        if step := _ROLLOUTS.fullmatch(name):
            return self.source.rollouts(int(step[1]))
        ways: dict[str, Callable[[], Any]] = {
            "answers.json": self.source.answers,
            "memories.json": self.source.memories,
            "problems.json": self.source.problems,
        }
        return ways[name]() if name in ways else None


def serve(site: Site, listening: socket.socket) -> None:
    """Answer on that socket until interrupted."""
    import uvicorn

    settings = uvicorn.Config(site, log_level="warning", access_log=False, lifespan="off", server_header=False)
    uvicorn.Server(settings).run(sockets=[listening])
