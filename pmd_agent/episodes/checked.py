"""What an environment says and gives, checked. Misbehaved is raised where it cannot be taken; it says why.

An environment may flood, forget whose turn it is, say again all that was said before, or call a text a reward. None of that
is the policy's fault, so the episode could not be checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pmd_agent.text import cut, neutralise
from pmd_agent.types import Verdict

MOST_MESSAGES = 64
MOST_CHARS = 1_000_000
"""In one turn; beyond these it is a flood."""
Messages = list[dict[str, str]]
KEPT = ("role", "content", "name", "tool_call_id")
"""What a message may have; the last two where it answers a call."""


class Misbehaved(Exception):
    """The environment did what none may do."""


def opening_of(said: Any, special_tokens: Collection[str]) -> Messages:
    """The messages of a prompt, which ends with others than the policy; empty where the environment said nothing."""
    messages = _messages(said, "start")
    for number, message in enumerate(messages):
        known = ("system", "user", "assistant", "tool") if number == 0 else ("user", "assistant", "tool")
        if message["role"] not in known:
            raise Misbehaved(f"start gave message {number + 1} the role {message['role']!r}")
    if messages and messages[-1]["role"] not in ("user", "tool"):
        raise Misbehaved(f"start ended with the role {messages[-1]['role']!r}, so nobody asks")
    found = [_cleaned(m, special_tokens) for m in messages]
    first = said if isinstance(said, Mapping) else said[0] if messages and not isinstance(said, str) else {}
    if first.get("tools"):
        found[0]["tools"] = neutralise(_schemas(first["tools"]), special_tokens)
    return found


def observation_of(
    said: Any, opening: Messages, before: Sequence[Mapping[str, str]], chars: int, special_tokens: Collection[str]
) -> tuple[Messages, bool]:
    """What is said to a reply, each message cut to `chars` in its middle, and whether one was; empty: the end.

    `before`: what the environment said to earlier replies, as it said it. No marker is left by which a text could end its turn.
    """
    messages = _messages(said, "act")
    for message in messages:
        if message["role"] not in ("user", "tool"):
            raise Misbehaved(f"act spoke in the role {message['role']!r}: it may speak as user or tool")
    for old in (opening, list(before)):
        if old and len(messages) > len(old) and messages[: len(old)] == old:
            raise Misbehaved("act said again what was said before: it returns the new messages alone")
    kept = [_cleaned(m | {"content": cut(m["content"], chars)}, special_tokens) for m in messages]
    return kept, any(len(m["content"]) > chars for m in messages)


def raw(said: Any) -> Messages:
    """The messages as they were given, for the comparison with later ones."""
    return _messages(said, "act")


def verdict_of(reward: Any, feedback: Any, threshold: float) -> Verdict:
    """The verdict on an episode. A bool or a text is no reward, nor is NaN."""
    if reward is None:
        raise Misbehaved("the environment gave no reward")
    value = reward.item() if hasattr(reward, "item") else reward
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misbehaved(f"the reward is a {type(value).__name__}, not a number")
    if math.isnan(value) or not 0.0 <= value <= 1.0:
        raise Misbehaved(f"the reward is {value}, outside of [0, 1]")
    if not isinstance(feedback, str):
        raise Misbehaved(f"the feedback is a {type(feedback).__name__}, not a text")
    return Verdict(float(value), float(value) >= threshold, cut(feedback, MOST_CHARS // 100))


def account_of(account: Any) -> str:
    """What memory is to keep of an episode; empty where it keeps all that was said."""
    if not isinstance(account, str):
        raise Misbehaved(f"the account is a {type(account).__name__}, not a text")
    return cut(account, MOST_CHARS // 100)


def _cleaned(message: Mapping[str, str], special_tokens: Collection[str]) -> dict[str, str]:
    """Without a marker by which it could end its turn."""
    return {k: v if k == "role" else neutralise(v, special_tokens) for k, v in message.items()}


def _schemas(tools: Any) -> str:
    """Tools as JSON, or Misbehaved."""
    good = isinstance(tools, list | tuple) and len(tools) <= MOST_MESSAGES
    if not good or not all(isinstance(t, Mapping) and isinstance(t.get("function"), Mapping) for t in tools):
        raise Misbehaved("the tools are no list of functions in OpenAI's schema")
    try:
        written = json.dumps(tools, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Misbehaved(f"the tools are not JSON: {error}") from error
    if len(written) > MOST_CHARS:
        raise Misbehaved(f"the tools have {len(written)} characters")
    return written


def _messages(said: Any, where: str) -> Messages:
    if said is None:
        return []
    many = (
        [{"role": "user", "content": said}] if isinstance(said, str) else [said] if isinstance(said, Mapping) else said
    )
    if not isinstance(many, list | tuple):
        raise Misbehaved(f"{where} returned a {type(said).__name__} instead of messages")
    if len(many) > MOST_MESSAGES:
        raise Misbehaved(f"{where} returned {len(many)} messages at once")
    found: Messages = []
    for message in many:
        if not isinstance(message, Mapping) or {type(message.get(k)) for k in ("role", "content")} != {str}:
            raise Misbehaved(f"{where} returned something that is no message with a role and a content")
        found.append({key: message[key] for key in KEPT if isinstance(message.get(key), str)})
    if (chars := sum(len(m["content"]) for m in found)) > MOST_CHARS:
        raise Misbehaved(f"{where} returned {chars} characters at once")
    return found
