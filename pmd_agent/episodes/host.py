"""Calls an environment, whichever way it is written, and says of whatever goes wrong that the environment did it."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from pmd_agent.environment import Environment
from pmd_agent.episodes.checked import Misbehaved

_NONE = object()


class Host:
    """One environment, in one thread; with an event loop of its own where it is async."""

    def __init__(self, environment: Environment, seconds: float) -> None:
        """`seconds`: of one call. An async one is ended then; a plain one is only given up by who waits for it."""
        self._environment, self._seconds = environment, seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, name: str, *arguments: Any) -> Any:
        """What the method returns. Raises Misbehaved for all that it raises."""
        try:
            return self._settled(getattr(self._environment, name)(*arguments))
        except TimeoutError as error:
            reason = str(error) or f"no answer within {self._seconds:g} s"
            raise Misbehaved(f"{name}: {reason}") from error
        except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
            raise Misbehaved(f"{name} raised {type(error).__name__}: {error}") from error

    def has(self, name: str) -> bool:
        """Whether there is such an attribute, without reading it: a property that fails is there."""
        return inspect.getattr_static(self._environment, name, _NONE) is not _NONE

    def read(self, name: str) -> Any:
        """An attribute, or what a method of that name returns. Raises Misbehaved."""
        try:
            found = getattr(self._environment, name)
            return self._settled(found() if callable(found) else found)
        except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
            raise Misbehaved(f"{name} raised {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Once the episode is over. What goes wrong here changes nothing any more."""
        try:
            if self.has("close"):
                self._settled(self._environment.close())
        except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError):
            pass
        finally:
            if self._loop is not None:
                self._loop.close()

    def _settled(self, value: Any) -> Any:
        if not inspect.isawaitable(value):
            return value
        if self._loop is None:
            self._loop = asyncio.new_event_loop()

        async def within() -> Any:
            return await asyncio.wait_for(value, self._seconds)

        return self._loop.run_until_complete(within())
