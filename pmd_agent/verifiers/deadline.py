"""A time limit for code that may never return."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class _Expired(BaseException):
    """Not an Exception: a verifier that catches every Exception would turn it into a wrong answer."""


def call_within(call: Callable[[], T], timeout_s: float | None) -> T:
    """`call()`, or TimeoutError after `timeout_s` seconds (None: no limit).

    In the main thread of a Unix system the call is really interrupted (by SIGALRM, so `call` must not use that signal).
    Elsewhere it goes on in a daemon thread, and only its result is no longer waited for.
    """
    if timeout_s is None:
        return call()
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _interrupted_after(call, timeout_s)
    return _abandoned_after(call, timeout_s)


def _interrupted_after(call: Callable[[], T], timeout_s: float) -> T:
    waiting = True

    def expire(signum: int, frame: object) -> None:
        # An alarm that goes off while it is being switched off must not escape from the `finally` below.
        if waiting:
            raise _Expired

    remaining_s = 0.0
    handler = signal.signal(signal.SIGALRM, expire)
    try:
        remaining_s, _ = signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            return call()
        finally:
            waiting = False
    except _Expired:
        raise TimeoutError(f"no verdict within {timeout_s:g} s") from None
    finally:
        waiting = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        # Somebody else's alarm that was pending (a test's time limit) is set again.
        signal.setitimer(signal.ITIMER_REAL, remaining_s)


def _abandoned_after(call: Callable[[], T], timeout_s: float) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no verdict within {timeout_s:g} s")
    return results[0]
