"""The worker as an object: started when it is needed, asked from many threads, ended with the process."""

from __future__ import annotations

import atexit
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from pmd_agent.errors import ProblemError

WORKER = Path(__file__).with_name("worker.py")
LOOK_SECONDS = 0.2
"""A thread that waits here looks up so often, so that it can be interrupted."""
CLOSE_SECONDS = 5.0
MAKE_ONE = (
    "python -m venv VENV && VENV/bin/pip install 'verifiers<0.4' ENVIRONMENT; then problems.python=VENV/bin/python"
)


class WorkerLost(Exception):
    """It has ended, or does not answer as it should."""


@cache
def worker_of(python: str, name: str, arguments: str, rows: int, seconds: float) -> Bridge:
    """One for all that ask for the same. `arguments`: JSON."""
    return Bridge(python or sys.executable, name, json.loads(arguments), rows, seconds)


class Bridge:
    """A worker with an environment in it. One that has ended is started again when it is next asked."""

    def __init__(self, python: str, name: str, arguments: Mapping[str, Any], rows: int, seconds: float) -> None:
        """`rows`: at most so many of each split. `seconds`: until it has loaded the environment."""
        self._python, self._asked, self._seconds = python, {"name": name, "arguments": arguments, "rows": rows}, seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._loaded: dict[str, Any] = {}
        self._count = 0
        self._waiting: dict[int, queue.Queue[Any]] = {}

    def loaded(self) -> dict[str, Any]:
        """What it says of its environment. Raises ProblemError where it cannot be loaded."""
        with self._lock:
            self._running()
            return self._loaded

    def start(self, split: str, index: int) -> int:
        """A new rollout. Returns the number by which it is known."""
        with self._lock:
            self._running()
            self._count += 1
            self._waiting[self._count] = queue.Queue()
            self._send(do="start", episode=self._count, split=split, index=index)
            return self._count

    def send(self, **message: Any) -> None:
        """To a rollout."""
        with self._lock:
            self._send(**message)

    def wait(self, episode: int) -> dict[str, Any]:
        """What a rollout says next. As long as it takes: whoever plays episodes has a limit. Raises WorkerLost."""
        waiting = self._waiting[episode]
        while True:
            with suppress(queue.Empty):
                said: dict[str, Any] | None = waiting.get(timeout=LOOK_SECONDS)
                if said is None:
                    raise WorkerLost(f"the interpreter of the environment has ended{self._last_words()}")
                return said

    def leave(self, episode: int) -> None:
        """Nobody waits for it any more."""
        if self._waiting.pop(episode, None) is not None:
            with suppress(WorkerLost):
                self.send(do="stop", episode=episode)

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._end(CLOSE_SECONDS)

    # ---- with the lock held

    def _running(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._end(CLOSE_SECONDS)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [self._python, str(WORKER)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, encoding="utf-8",
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise ProblemError(f"{self._python} cannot be started (problems.python): {error}", MAKE_ONE) from error
        atexit.register(self.close)
        first: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, first), name="pmd-verifiers", daemon=True).start()
        self._send(do="load", **self._asked)
        self._loaded = self._answer(first)

    def _answer(self, first: queue.Queue[Any]) -> dict[str, Any]:
        until = time.monotonic() + self._seconds
        said: Any = ""
        while said == "" and time.monotonic() < until:
            with suppress(queue.Empty):
                said = first.get(timeout=LOOK_SECONDS)
        if isinstance(said, dict) and "loaded" in said:
            found: dict[str, Any] = said["loaded"]
            return found
        reason = f"not within {self._seconds:g} s (problems.start_seconds)" if said == "" else self._last_words()
        reason = said["failed"] if isinstance(said, dict) and "failed" in said else reason.strip(" ()") or "it ended"
        self._end(0.0)
        raise ProblemError(
            f"{self._python} cannot load the environment {self._asked['name']} of verifiers: {reason}", MAKE_ONE
        )

    def _end(self, seconds: float) -> None:
        """End it: it ends by itself once nothing more can be said to it, and is killed after so long."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.close)
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._log is not None:
            self._log.close()

    def _send(self, **message: Any) -> None:
        try:
            assert self._process is not None and self._process.stdin is not None
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError, AssertionError) as error:
            raise WorkerLost(f"the interpreter of the environment has ended{self._last_words()}") from error

    # ---- in the thread that reads

    def _read(self, process: subprocess.Popen[str], first: queue.Queue[Any]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said = json.loads(line)
                waiting = self._waiting.get(said["episode"]) if "episode" in said else first
                if waiting is not None:
                    waiting.put(said)
        first.put(None)
        for waiting in list(self._waiting.values()):
            waiting.put(None)

    def _last_words(self) -> str:
        """The end of what it wrote to stderr."""
        if self._log is None or self._log.closed:
            return ""
        self._log.seek(0)
        lines = self._log.read()[-4000:].strip().splitlines()
        return f" ({lines[-1].strip()[:300]})" if lines else ""
