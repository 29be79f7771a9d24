"""A rollout of verifiers as an environment of pmd's: its texts go to the policy as they are, its reward is the episode's."""

from __future__ import annotations

import json
from typing import Any

from pmd_agent.environment import Reply
from pmd_agent.problems.verifiers_package.bridge import Bridge, WorkerLost
from pmd_agent.problems.verifiers_package.rows import text_of
from pmd_agent.types import Problem


class VerifiersEpisode:
    """One attempt. The rollout goes on in its own interpreter, and waits there for each reply."""

    def __init__(self, bridge: Bridge, best_reward: float = 1.0) -> None:
        """`best_reward`: the highest that the environment gives, by which its rewards are divided."""
        self._bridge, self._best = bridge, best_reward
        self._episode = 0
        self._said: list[dict[str, Any]] = []
        self._over: dict[str, Any] | None = None

    def start(self, problem: Problem) -> list[dict[str, Any]]:
        """The first messages that the rollout sends to its model."""
        self._episode = self._bridge.start(problem.data["split"], problem.data["index"])
        messages, tools = self._next()
        if self._over is not None:
            raise WorkerLost("the rollout was over before anything was asked")
        self._said = messages
        found = [_message(message) for message in messages]
        return [found[0] | ({"tools": tools} if tools else {}), *found[1:]]

    def act(self, reply: str) -> list[dict[str, Any]] | None:
        """What it sends beyond that reply; None once it is over."""
        message = answer_of(reply)
        self._bridge.send(do="reply", episode=self._episode, message=message)
        messages, _ = self._next()
        if self._over is not None:
            return None
        before = len(self._said) + 1
        if len(messages) <= before or [m.get("role") for m in messages[:before]] != [
            *(m.get("role") for m in self._said),
            "assistant",
        ]:
            raise WorkerLost("the environment does not go on from what was said: it changed the conversation")
        self._said = messages
        return [_message(each) for each in messages[before:]]

    def reward(self) -> float | None:
        """The environment's own. A rollout that is not over is scored as it is."""
        if self._over is None:
            self._bridge.send(do="end", episode=self._episode)
            self._next()
            if self._over is None:
                raise WorkerLost("the rollout goes on although its model is at its limit")
        over: dict[str, Any] = self._over
        if over["error"]:
            raise WorkerLost(over["error"])
        return None if over["reward"] is None else float(over["reward"]) / self._best

    def close(self) -> None:
        """Whatever it is at, it is left."""
        self._bridge.leave(self._episode)

    def _next(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        said = self._bridge.wait(self._episode)
        self._over = said.get("over")
        return said.get("ask", []), said.get("tools", [])


def answer_of(reply: str) -> dict[str, Any]:
    """As OpenAI's servers send it. A call that cannot be read stays in the text, for the environment to deal with."""
    calls = reply.calls if isinstance(reply, Reply) else ()
    if not calls or any(call.fault for call in calls):
        # An empty one is an error to verifiers, and not the environment's to judge.
        return {"role": "assistant", "content": str(reply) or " "}
    made = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
        }
        for call in calls
    ]
    return {"role": "assistant", "content": reply.content if isinstance(reply, Reply) else reply, "tool_calls": made}


def _message(said: dict[str, Any]) -> dict[str, Any]:
    found = {"role": said.get("role"), "content": text_of(said.get("content"))}
    return found | {key: said[key] for key in ("name", "tool_call_id") if isinstance(said.get(key), str)}
