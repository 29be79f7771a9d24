"""A vLLM server that pmd starts, watches, restarts and ends, or one that is there already.

Both look alike to the policy: an address, a key, and `starts`, which counts the processes that have served. Whatever
was loaded into a server is gone when that number has changed.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx

from pmd_agent.errors import PolicyError
from pmd_agent.policies.vllm.log import reason_in
from pmd_agent.policies.vllm.process_guard import Leash, clear_up
from pmd_agent.policies.vllm.server_arguments import ServerSettings, server_command, server_environment, typed
from pmd_agent.policies.vllm.start_turn import devices, turn

Progress = Callable[[str], None]
LOOK_SECONDS = 0.25
SAY_SECONDS = 15.0
"""Between two lines of progress."""
DEAF_SECONDS = 60.0
"""A server that lives but does not answer a health check for so long is started anew."""
PORT_TRIES = 3


class Server(Protocol):
    """What the policy needs of a server."""

    address: str
    """http://host:port; empty before the first `ensure`."""
    key: str
    """The API key; empty: none."""
    starts: int

    def ensure(self) -> int:
        """Start it if it is not there, and return `starts`. Raises PolicyError."""
        ...

    def recover(self, seen: int) -> None:
        """A request was lost while `starts` was `seen`: wait until it answers again. Raises PolicyError."""
        ...

    def worked(self) -> None:
        """Called when a batch came through: earlier deaths no longer count."""
        ...

    def stop(self) -> None:
        """End what was started."""
        ...


class VllmServer:
    """A server of this process's own. Ended by `stop`, and by this process's end, however it ends."""

    def __init__(
        self,
        settings: ServerSettings,
        log: Path,
        *,
        start_seconds: float = 900.0,
        restarts: int = 3,
        progress: Progress | None = None,
    ) -> None:
        """`restarts`: how often in a row it may die before the error is final."""
        self.settings, self.log = settings, log
        self.address, self.key, self.starts = "", secrets.token_urlsafe(24), 0
        self._start_seconds, self._restarts, self._progress = start_seconds, restarts, progress or (lambda text: None)
        self._deaths = self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._leash = Leash()
        self._lock = threading.RLock()

    @property
    def pid(self) -> int | None:
        """Of the watchdog, which leads the server's session; None when there is none."""
        return self._process.pid if self._process is not None else None

    def ensure(self) -> int:
        with self._lock:
            if self._process is None:
                self._start()
            elif self._process.poll() is not None:
                self._restart()
            return self.starts

    def recover(self, seen: int) -> None:
        with self._lock:
            if self.starts != seen:  # another thread has done it
                return
            until = time.monotonic() + DEAF_SECONDS
            while self._process is not None and self._process.poll() is None and time.monotonic() < until:
                state = self._health()
                if state == "well":
                    return
                if state == "dead":
                    break
                time.sleep(LOOK_SECONDS)
            self._restart()

    def worked(self) -> None:
        self._deaths = 0

    def stop(self) -> None:
        with self._lock:
            process, self._process, self.address = self._process, None, ""
            self._leash.close()
            if process is not None:
                clear_up(process)

    def _restart(self) -> None:
        self.stop()
        self._deaths += 1
        if self._deaths > self._restarts:
            raise PolicyError(
                f"The vLLM server died {self._deaths} times in a row: {reason_in(self._said())}", f"Its log: {self.log}"
            )
        self._progress(f"the vLLM server died ({reason_in(self._said()) or 'without a word'}); starting it again")
        self._start()

    def _start(self) -> None:
        what = f"{self.settings.model}, log {self.log}"
        with turn(devices(self.settings), what, seconds=self._start_seconds, say=self._progress):
            self._start_here()

    def _start_here(self) -> None:
        for tries_left in reversed(range(PORT_TRIES)):
            try:
                reason = self._try_to_start()
            except BaseException:
                self.stop()
                raise
            if reason is None:
                self.starts += 1
                return
            self.stop()
            if not tries_left or "address already in use" not in reason.lower():
                raise PolicyError(f"The vLLM server did not start: {reason}", _hint(reason, self.log))

    def _try_to_start(self) -> str | None:
        """None once it answers, else why it does not."""
        port = free_port()
        command, environment = server_command(self.settings, port=port), server_environment(self.settings)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')} {typed(command, environment)}\n".encode())
            log.flush()
            self._log_start = log.tell()
            self._process = self._leash.spawn(
                command, os.environ | environment | {"VLLM_API_KEY": self.key}, log.fileno()
            )
        self.address = f"http://127.0.0.1:{port}"
        started = said = time.monotonic()
        while self._process.poll() is None:
            if self._health() == "well":
                self._progress(f"vLLM serves {self.settings.model} after {time.monotonic() - started:.0f} s")
                return None
            if time.monotonic() - started > self._start_seconds:
                return f"it was not ready after {self._start_seconds:.0f} s; its last line: {_last_line(self._said())}"
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                self._progress(f"vLLM is starting ({said - started:.0f} s): {_last_line(self._said())}")
            time.sleep(LOOK_SECONDS)
        status = self._process.returncode
        return reason_in(self._said()) or (
            "it was killed (out of memory?)" if status == 128 + signal.SIGKILL else f"it ended with status {status}"
        )

    def _health(self) -> str:
        """well, dead, or deaf: it does not answer, but may yet."""
        try:
            status = httpx.get(f"{self.address}/health", timeout=5.0, trust_env=False).status_code
        except httpx.ConnectError:
            return "dead"
        except httpx.HTTPError:
            return "deaf"
        return "well" if status == 200 else "dead"

    def _said(self) -> str:
        """The log of the last start, its end where it is long."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, os.fstat(log.fileno()).st_size - 200_000))
            return log.read().decode("utf-8", "replace")


class RunningServer:
    """A server that someone else has started, with adapters and their loading at run time switched on."""

    def __init__(
        self, address: str, *, key: str = "", patience: float = 120.0, progress: Progress | None = None
    ) -> None:
        """`patience`: seconds to wait for one that does not answer."""
        self.address, self.key, self.starts = address.rstrip("/").removesuffix("/v1"), key, 0
        self._patience, self._progress = patience, progress or (lambda text: None)
        self._lock = threading.Lock()

    def ensure(self) -> int:
        with self._lock:
            if not self.starts:
                self._wait()
                self._check()
                self.starts = 1
            return self.starts

    def recover(self, seen: int) -> None:
        with self._lock:
            if self.starts == seen:
                self._wait()
                self.starts += 1  # it may have been started anew: what was loaded has to be looked for

    def worked(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def _wait(self) -> None:
        until, said = time.monotonic() + self._patience, False
        while True:
            try:
                if httpx.get(f"{self.address}/health", timeout=5.0, trust_env=False).status_code == 200:
                    return
                reason = "it is not well"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason = str(error) or type(error).__name__
            if time.monotonic() > until:
                raise PolicyError(
                    f"The vLLM server at {self.address} does not answer: {reason}.",
                    "Start it (docs/vllm.md has the command), or leave policy.address empty, and pmd starts one.",
                )
            if not said:
                self._progress(f"waiting for the vLLM server at {self.address}")
                said = True
            time.sleep(1.0)

    def _check(self) -> None:
        """That adapters can be loaded, as far as the server says what it can do."""
        found = httpx.get(f"{self.address}/openapi.json", timeout=30.0, trust_env=False)
        if found.status_code == 200 and "/v1/load_lora_adapter" not in found.json().get("paths", {}):
            raise PolicyError(
                f"The vLLM server at {self.address} does not load adapters while it runs.",
                "Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora (docs/vllm.md has the command).",
            )


def free_port() -> int:
    """A port of 127.0.0.1 that no one listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing said yet")[:160]


def _hint(reason: str, log: Path) -> str:
    what = f"Its log: {log}"
    if "No module named" in reason and "vllm" in reason:
        install = "Install vLLM (`pip install 'pmd-agent[vllm]'`)"
        return f"{install}, or set policy.python to an interpreter that has it. {what}"
    if "memory" in reason.lower():
        return f"Lower policy.max_model_len, or change policy.gpu_share (docs/vllm.md has the arithmetic). {what}"
    return f"{what}. `pmd doctor` says what this machine lacks."
