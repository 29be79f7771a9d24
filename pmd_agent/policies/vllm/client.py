"""The few HTTP calls that pmd makes of a vLLM server, on an event loop of their own.

Lost       the connection, or the server behind it: the same request may be sent again
NotServed  it serves no such model: the adapter has to be loaded again
PolicyError anything that another try would not change
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import httpx

from pmd_agent.errors import PolicyError

T = TypeVar("T")


class Lost(Exception):
    """The server did not answer, or not as one that is well."""


class NotServed(Exception):
    """404: no model or adapter of that name."""


class VllmClient:
    """Connections to one server. `run` may be called from any thread, also one that has an event loop."""

    def __init__(self, *, connections: int, timeout: float) -> None:
        """`timeout`: seconds that one request may take."""
        self._connections, self._timeout = connections, timeout
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._http: httpx.AsyncClient | None = None
        self._address = self._key = ""

    def connect(self, address: str, key: str) -> None:
        """Where the next requests go."""
        self._address, self._key = address, key

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Its result to come."""
        return asyncio.run_coroutine_threadsafe(work, self._running_loop())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Interrupted, the work is cancelled, and the server told to stop."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def post(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The parsed answer (None where it is not JSON). Raises Lost, NotServed and PolicyError."""
        headers = dict(headers or {}) | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        try:
            answer = await self._client().post(
                self._address + path, json=body, headers=headers, timeout=timeout or httpx.USE_CLIENT_DEFAULT
            )
        except httpx.HTTPError as error:
            raise Lost(str(error) or type(error).__name__) from None
        return self._read(path, answer)

    async def get(self, path: str) -> Any:
        """As `post`."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            answer = await self._client().get(self._address + path, headers=headers, timeout=30.0)
        except httpx.HTTPError as error:
            raise Lost(str(error) or type(error).__name__) from None
        return self._read(path, answer)

    # ---- adapters

    async def models(self) -> list[dict[str, Any]]:
        """What is served, the base first."""
        found: list[dict[str, Any]] = (await self.get("/v1/models"))["data"]
        return found

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Serve the adapter in `folder` as `name`."""
        await self.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder.resolve())}, timeout=300.0)

    async def unload_adapter(self, name: str) -> None:
        """Serve it no more."""
        await self.post("/v1/unload_lora_adapter", {"lora_name": name}, timeout=300.0)

    # ---- sleep mode

    async def sleep(self, level: int) -> None:
        """KV cache away, and the weights: to the CPU's memory (level 1), or away as well (2)."""
        await self.post(f"/sleep?level={level}&mode=wait", timeout=300.0)

    async def wake(self, level: int) -> None:
        """After a sleep of that level: back with an empty KV cache. After level 2 weights are read from their files again."""
        if level == 2:
            await self.post("/wake_up?tags=weights", timeout=300.0)
            await self.post("/collective_rpc", {"method": "reload_weights"}, timeout=900.0)
            await self.post("/wake_up?tags=kv_cache", timeout=300.0)
        else:
            await self.post("/wake_up", timeout=300.0)

    def close(self) -> None:
        """Close the connections and end the loop."""
        with self._lock:
            loop, thread, http = self._loop, self._thread, self._http
            self._loop = self._thread = self._http = None
        if loop is None or thread is None:
            return
        if http is not None:
            asyncio.run_coroutine_threadsafe(http.aclose(), loop).result(10.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10.0)
        loop.close()

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            # A connection for each request: batches that used the last one's again took up to four times as long (docs/log.md),
            # and the server closes what is idle for 5 s, maybe just as it is used.
            limits = httpx.Limits(max_connections=self._connections, max_keepalive_connections=0)
            timeout = httpx.Timeout(self._timeout, connect=10.0, pool=None)
            self._http = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
        return self._http

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="pmd-vllm", daemon=True)
                self._thread.start()
            return self._loop

    def _read(self, path: str, answer: httpx.Response) -> Any:
        if answer.status_code == 200:
            try:
                return answer.json()
            except ValueError:
                return None
        said = _message(answer)
        if answer.status_code == 404:
            raise NotServed(said)
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise Lost(f"{answer.status_code}: {said}")
        if answer.status_code in (401, 403):
            raise PolicyError(
                f"The vLLM server at {self._address} wants another API key.",
                "Put its key into the environment variable that policy.api_key names (VLLM_API_KEY).",
            )
        raise PolicyError(f"The vLLM server refused {path}: {said}", "Its log says more.")


def _message(answer: httpx.Response) -> str:
    """What an error answer says: vLLM and FastAPI each have a form for it."""
    try:
        found = answer.json()
    except ValueError:
        return answer.text.strip()[:300] or f"status {answer.status_code}"
    if isinstance(found, dict):
        error = found.get("error", found)
        message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
        return str(message or found)[:600]
    return str(found)[:600]
