"""Runs an environment of the package verifiers. A program for that package's interpreter: it imports nothing of pmd's.

    -> {"do": "load", "name": "wordle", "arguments": {}, "rows": 500}
    <- {"loaded": {"version": "0.3.1", "rows": {"train": [...], "eval": [...]}}}
    -> {"do": "start", "episode": 7, "split": "train", "index": 3}
    <- {"episode": 7, "ask": [messages], "tools": [...]}
    -> {"do": "reply", "episode": 7, "message": {"role": "assistant", "content": "...", "tool_calls": [...]}}
    <- {"episode": 7, "ask": [all messages so far], "tools": [...]}, or {"episode": 7, "over": {"reward": 1.0, "error": null}}
    -> {"do": "end", "episode": 7}      no further reply: it is scored as it is
    -> {"do": "stop", "episode": 7}     nobody waits for it any more

The environment asks a model through its usual client of OpenAI's, whose requests end in this process: no socket is opened.
What cannot be done is answered with "failed", a text.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from typing import Any

TOO_LONG = "This model's maximum context length is reached."
"""By which verifiers knows that a rollout ends here, and scores it as it is."""


class Worker:
    """One environment, many rollouts at once."""

    def __init__(self, out: Any) -> None:
        self.out = out
        self.env: Any = None
        self.rows: dict[str, list[Any]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.replies: dict[int, asyncio.Queue[Any]] = {}

    def say(self, **message: Any) -> None:
        """A line to pmd."""
        self.out.write(json.dumps(message, default=str) + "\n")
        self.out.flush()

    def hear(self, line: str) -> None:
        """A line from pmd."""
        asked = json.loads(line)
        what, episode = asked["do"], asked.get("episode", 0)
        if what == "load":
            try:
                self.say(loaded=self.load(asked["name"], asked["arguments"], asked["rows"]))
            except BaseException as error:
                self.say(failed=reason_of(error))
        elif what == "start":
            self.replies[episode] = asyncio.Queue()
            task = asyncio.get_running_loop().create_task(self.play(episode, asked["split"], asked["index"]))
            self.tasks[episode] = task
            task.add_done_callback(lambda _: self.forget(episode))
        elif what in ("reply", "end") and episode in self.replies:
            self.replies[episode].put_nowait(asked.get("message"))
        elif what == "stop" and episode in self.tasks:
            self.tasks[episode].cancel()

    def forget(self, episode: int) -> None:
        self.tasks.pop(episode, None)
        self.replies.pop(episode, None)

    def load(self, name: str, arguments: dict[str, Any], rows: int) -> dict[str, Any]:
        import verifiers

        version = getattr(verifiers, "__version__", "unknown")
        if not hasattr(verifiers, "load_environment"):
            raise RuntimeError(f"verifiers {version} has no load_environment: pip install 'verifiers<0.4'")
        self.env = verifiers.load_environment(name, **arguments)
        if getattr(self.env, "requires_group_rollouts", False):
            raise RuntimeError("it scores the rollouts of a problem as a group, and pmd scores each by itself")
        self.rows = {"train": [], "eval": []}
        if getattr(self.env, "dataset", None) is not None or getattr(self.env, "dataset_source", None) is not None:
            self.rows["train"] = first(self.env.get_dataset(), rows)
        own = any(getattr(self.env, at, None) is not None for at in ("eval_dataset", "eval_dataset_source"))
        if own or not self.rows["train"]:
            self.rows["eval"] = first(self.env.get_eval_dataset(), rows)
        shown = {split: [shown_of(row) for row in found] for split, found in self.rows.items()}
        return {"version": version, "rows": shown}

    async def play(self, episode: int, split: str, index: int) -> None:
        try:
            found = await self.env.run_rollout(self.rows[split][index], self.client(episode), "policy", {})
            error = found.get("error")
            self.say(
                episode=episode, over={"reward": found.get("reward"), "error": reason_of(error) if error else None}
            )
        except Exception as error:
            self.say(episode=episode, over={"reward": None, "error": reason_of(error)})

    def client(self, episode: int) -> Any:
        """Of this rollout alone: what it asks is answered by the policy."""
        import httpx
        from openai import AsyncOpenAI

        async def answer(request: httpx.Request) -> httpx.Response:
            asked = json.loads(request.content)
            self.say(episode=episode, ask=asked.get("messages", []), tools=asked.get("tools") or [])
            message = await self.replies[episode].get()
            if message is None:
                return httpx.Response(400, json={"error": {"message": TOO_LONG, "code": "context_length_exceeded"}})
            return httpx.Response(200, json=completion_of(message, asked.get("model", "policy")))

        http: Any = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        openai = AsyncOpenAI(api_key="none", base_url="http://policy/v1", max_retries=0, timeout=None, http_client=http)
        try:
            from verifiers.clients import OpenAIChatCompletionsClient
        except ImportError:  # before 0.1.10
            return openai
        return OpenAIChatCompletionsClient(openai)


def completion_of(message: dict[str, Any], model: str) -> dict[str, Any]:
    """A reply as OpenAI's servers send it."""
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-policy",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def first(dataset: Any, rows: int) -> list[Any]:
    return [dict(dataset[n]) for n in range(min(rows, len(dataset)))]


def shown_of(row: dict[str, Any]) -> dict[str, Any]:
    """What pmd needs to know of a row before it is played."""
    prompt = row.get("prompt")
    task = row.get("task")
    return {
        "prompt": prompt if isinstance(prompt, list) else [{"role": "user", "content": str(prompt)}],
        "answer": str(row.get("answer") or ""),
        "task": task if isinstance(task, str) else "",
    }


def reason_of(error: Any) -> str:
    """With its causes: verifiers wraps what an environment raises."""
    said = []
    while isinstance(error, BaseException):
        said.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return " <- ".join(said)[:2000] or str(error)[:2000]


async def main(out: Any, lines: Any) -> None:
    loop = asyncio.get_running_loop()
    worker, ended = Worker(out), asyncio.Event()

    def read() -> None:
        for line in lines:
            loop.call_soon_threadsafe(worker.hear, line)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    sys.path[0] = ""  # not this file's folder: an environment may lie in the folder of the run
    # What an environment prints must not be read as a line of ours.
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asyncio.run(main(own, sys.stdin))
    os._exit(0)
