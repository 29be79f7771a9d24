"""The tools of an MCP server: a program that is started, asked and ended here, through the package mcp, an extra.

What a tool answers is the policy's to read, also where it says that it was called wrongly. A server that does not start, hangs
or dies says nothing about the policy: it raises.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import tempfile
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO, cast

from pmd_agent.errors import RecipeError

CLOSE_SECONDS = 10.0
"""For a server to end; the package kills one that does not."""
MOST_TOOLS = 64


@dataclass(frozen=True, slots=True)
class McpTool:
    """As the server describes it."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class ServerFailed(Exception):
    """The server did not answer as one does; it says why."""


class McpServer:
    """One server, started when it is first needed. Calls from several threads are under way at once."""

    def __init__(self, command: Sequence[str], *, env: Sequence[str] = (), seconds: float = 30.0) -> None:
        """`env`: names of variables that it may read. `seconds`: for its start, and for each call."""
        self._command, self._env, self._seconds = tuple(command), tuple(env), seconds
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._closed = False

    def tools(self) -> list[McpTool]:
        """What it offers. Raises RecipeError where it cannot be started: this is asked before a run begins."""
        try:
            import mcp  # noqa: F401
        except ImportError as error:
            raise RecipeError(
                f"problems.tools with type: mcp needs the package mcp ({error}).", "pip install 'pmd-agent[mcp]'"
            ) from error
        try:
            session = self._started()
            found: list[McpTool] = session.wait(session.tools(), self._seconds)
        except (ServerFailed, TimeoutError) as error:
            raise RecipeError(
                f"The MCP server `{' '.join(self._command)}` cannot be asked for its tools: {error}",
                "Run the command by hand, and mend problems.tools.",
            ) from error
        return found

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What the tool answers, errors that the server reports included. Raises ServerFailed, and TimeoutError."""
        session = self._started()
        said: str = session.wait(session.call(name, dict(arguments)), self._seconds)
        return said

    def close(self) -> None:
        """End it. It is not started again."""
        with self._lock:
            self._closed = True
            session, self._session = self._session, None
        if session is not None:
            atexit.unregister(self.close)
            session.end()

    def _started(self) -> _Session:
        with self._lock:
            if self._closed:
                raise ServerFailed("it was closed")
            if self._session is not None and self._session.over:  # it died: whoever called then has been told
                self._session.end()
                self._session = None
            if self._session is None:
                atexit.unregister(self.close)
                self._session = _Session(self._command, self._env)
                atexit.register(self.close)
            self._session.wait_for_start(self._seconds)
            return self._session


class _Session:
    """A running server, with an event loop in a thread of its own: the package enters and leaves in one task."""

    def __init__(self, command: tuple[str, ...], env: tuple[str, ...]) -> None:
        self._command, self._env = command, env
        self.over = False
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: Future[Any] = Future()
        self._log = cast(TextIO, tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))  # noqa: SIM115
        self._task = self._loop.create_task(self._live())
        self._thread = threading.Thread(target=self._run, name="pmd-mcp", daemon=True)
        self._thread.start()

    def wait_for_start(self, seconds: float) -> None:
        try:
            self._ready.result(seconds)
        except WaitedTooLong:
            raise TimeoutError(f"it did not start within {seconds:g} s") from None
        except Exception as error:
            raise ServerFailed(f"it did not start: {_reason(error)}{self._said()}") from error

    def wait(self, asked: Coroutine[Any, Any, Any], seconds: float) -> Any:
        """The answer, asked for in the loop of this session."""
        try:
            under_way = asyncio.run_coroutine_threadsafe(asked, self._loop)
        except RuntimeError as error:
            asked.close()
            raise ServerFailed("it has ended") from error
        try:
            return under_way.result(seconds)
        except WaitedTooLong:
            under_way.cancel()
            raise TimeoutError(f"the MCP server gave no answer within {seconds:g} s") from None
        except Exception as error:
            raise ServerFailed(f"the MCP server failed: {_reason(error)}{self._said()}") from error

    async def tools(self) -> list[McpTool]:
        client, found, cursor = self._ready.result(0), list[McpTool](), None
        while len(found) <= MOST_TOOLS:
            page = await client.list_tools(cursor=cursor)
            found += [McpTool(t.name, t.description or "", t.input_schema) for t in page.tools]
            if not (cursor := page.next_cursor):
                return found
        raise ValueError(f"it has more than {MOST_TOOLS} tools")

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        import mcp
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        try:
            answer = await self._ready.result(0).call_tool(name, arguments)
        except mcp.MCPError as error:
            if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                self._stop.set()
                self.over = True
                raise
            return f"error: {error}"
        said = "\n".join(getattr(part, "text", None) or f"[{part.type}]" for part in answer.content)
        return f"error: {said}" if answer.is_error else said or "(it answered nothing)"

    def end(self) -> None:
        """The server ends, its thread too."""
        with suppress(RuntimeError):  # its loop is closed: it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set if self._ready.done() else self._task.cancel)
        self._thread.join(CLOSE_SECONDS)
        self._log.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _live(self) -> None:
        import mcp

        given = {name: os.environ[name] for name in self._env if name in os.environ}
        parameters = mcp.StdioServerParameters(command=self._command[0], args=list(self._command[1:]), env=given)
        async with mcp.Client(mcp.stdio_client(parameters, errlog=self._log)) as client:
            self._ready.set_result(client)
            await self._stop.wait()

    def _said(self) -> str:
        """The end of what it wrote to stderr."""
        try:
            self._log.seek(0)
            lines = self._log.read()[-4000:].strip().splitlines()
        except (OSError, ValueError):
            return ""
        return f" ({lines[-1].strip()[:200]})" if lines else ""


def _reason(error: BaseException) -> str:
    """The innermost of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
