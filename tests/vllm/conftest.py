"""A server of the standard library alone that talks as vLLM does, and dies when it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class FakeVllm:
    """Answers prompt [a, b, ...] with the tokens 5 + seed + i. `drop` says of each request whether its connection breaks."""

    def __init__(self) -> None:
        self.base, self.adapters = "pmd-base", dict[str, str]()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Path and body of all requests, in the order in which they came."""
        self.answered: list[tuple[int, ...]] = []
        """Prompts of the completions that were sent off whole."""
        self.drop: Callable[[dict[str, Any]], bool] = lambda body: False
        self.refuse: Callable[[str, dict[str, Any]], tuple[int, str] | None] = lambda path, body: None
        self.renamed = ""
        """Not empty: what completions say that their model was."""
        self.max_model_len = 256
        self.version = "0.32.1"
        self.reads: Callable[[int | None], float] = lambda copy: -1.0
        """Log-probability of each token of a prompt that is only read, by the copy of the model that is asked."""
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def paths(self) -> list[str]:
        return [path for path, _ in self.calls]

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        refused = self.refuse(path, body)
        if refused is not None:
            return refused[0], {"error": {"message": refused[1]}}
        if path == "/v1/models":
            ids = [(self.base, None), *((name, self.base) for name in self.adapters)]
            return 200, {"data": [{"id": i, "parent": p, "max_model_len": self.max_model_len} for i, p in ids]}
        if path == "/version":
            return 200, {"version": self.version}
        if path == "/v1/load_lora_adapter":
            self.adapters[body["lora_name"]] = body["lora_path"]
        elif path == "/v1/unload_lora_adapter":
            del self.adapters[body["lora_name"]]
        elif path in ("/v1/completions", "/v1/chat/completions"):
            if body["model"] not in (self.base, *self.adapters):
                return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
            if "prompt_logprobs" in body:
                return 200, self.read(body)
            return 200, self.completion(body) if path == "/v1/completions" else self.chat(body)
        return 200, {}

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = [[5 + (body["seed"] + g + t) % 200 for t in range(body["max_tokens"])] for g in range(body["n"])]
        choices = [
            {
                "index": g,
                "token_ids": row,
                "logprobs": {"token_logprobs": [-0.5] * len(row)},
                "finish_reason": "stop" if g % 2 else "length",
            }
            for g, row in enumerate(ids)
        ]
        return {"model": self.renamed or body["model"], "choices": choices[::-1]}

    def read(self, body: dict[str, Any]) -> dict[str, Any]:
        logprob = self.reads(body.get("copy"))
        told = [None, *({str(i): {"logprob": logprob}} for i in body["prompt"][1:])]
        return {"model": body["model"], "choices": [{"index": 0, "prompt_logprobs": told}]}

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        fields = body["response_format"]["json_schema"]["schema"]["properties"] if "response_format" in body else {}
        message = {"role": "assistant", "content": json.dumps({name: ["Choose max."] for name in fields})}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._respond({})

            do_HEAD = do_GET

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
                copy = self.headers["X-data-parallel-rank"]
                self._respond(body | ({} if copy is None else {"copy": int(copy)}))

            def _respond(self, body: dict[str, Any]) -> None:
                path, _, query = self.path.partition("?")
                if query:
                    body = body | {"query": query}
                with fake.lock:
                    fake.calls.append((path, body))
                    fake.in_flight += 1
                    fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
                try:
                    if fake.drop(body):
                        self.close_connection = True
                        return
                    status, said = fake.answer(path, body)
                finally:
                    with fake.lock:
                        fake.in_flight -= 1
                content = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if path == "/v1/completions" and status == 200:
                    with fake.lock:  # before the client has it: then all that it has is here
                        fake.answered.append(tuple(body["prompt"]))
                self.wfile.write(b"" if self.command == "HEAD" else content)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


@dataclass
class FakeServer:
    """What VllmServer is to the policy. `recover` forgets the adapters, as a new process would, where `forgets` is set."""

    fake: FakeVllm
    key: str = ""
    starts: int = 0
    forgets: bool = True
    recoveries: int = 0
    stopped: bool = False
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ensure(self) -> int:
        if not self.starts:
            self.starts, self.address = 1, self.fake.address
        return self.starts

    def recover(self, seen: int) -> None:
        with self.lock:
            if seen == self.starts:
                self.recoveries += 1
                if self.forgets:
                    self.fake.adapters.clear()
                    self.starts += 1

    def worked(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True


class Words:
    """A tokenizer of code points, for tests that need no other."""

    eos_token_id = 2
    chat_template = ""
    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012
    all_special_tokens: tuple[str, ...] = ()

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        return "".join(m["content"] for m in messages)

    def __call__(self, text: str, **options: Any) -> Any:
        class Encoded:
            input_ids = [ord(c) for c in text]  # noqa: RUF012

        return Encoded

    def decode(self, ids: list[int], **options: Any) -> str:
        return " ".join(map(str, ids))


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    fake = FakeVllm()
    yield fake
    fake.close()


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
def server(fake: FakeVllm) -> FakeServer:
    return FakeServer(fake)
