"""Chats with rewards, as an application has had them: JSONL in OpenAI's message format.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...], "reward": 1.0}

A chat is an attempt that somebody else made: what comes before its first reply is the problem, the rest an episode. Chats with the
same problem are attempts at one problem. A reply's tool calls are told as `call NAME {arguments}`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pmd_agent.problems.parse_rows import BadRow, Gatherer, check_text, optional_text_of
from pmd_agent.problems.sources import describe_type, read
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.transcript import transcript
from pmd_agent.types import Experience, Problem, Turn

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat, read."""

    system: str
    prompt: str
    turns: tuple[Turn, ...]
    """From the first reply on."""

    @property
    def text(self) -> str:
        """As memory keeps it: one reply as it is, several turns as an episode."""
        return self.turns[0].content if len(self.turns) == 1 else transcript(self.turns)


def load(*, path: Path, test_fraction: float, max_bad_fraction: float, seed: int) -> Split:
    """The problems of the chats, each with its chats in `data`. ProblemError where too many lines do not fit."""
    gatherer = Gatherer(str(path), max_bad_fraction)
    single = gatherer.gather(read(path), problem_of)
    skipped = gatherer.finish()
    problems: dict[str, Problem] = {}
    for one in single:
        first = problems.setdefault(trace_id(one.prompt), replace(one, id=trace_id(one.prompt), data={"traces": []}))
        first.data["traces"].append(one.data["trace"])
    return Split(*hold_out(tuple(problems.values()), test_fraction, seed), skipped)


def problem_of(row: Mapping[str, Any], number: int) -> Problem:
    """One line. Raises BadRow."""
    chat = chat_of(row.get("messages"))
    trace = {"text": chat.text, "reward": reward_of(row.get("reward")), "feedback": optional_text_of(row, "feedback")}
    return Problem(
        str(number), chat.prompt, system=chat.system, kind=optional_text_of(row, "kind"), data={"trace": trace}
    )


def traces_of(problems: Sequence[Problem], threshold: float) -> dict[str, tuple[Experience, ...]]:
    """Problem id -> its chats as experiences, whose step is that in which they are first read."""
    return {
        p.id: tuple(
            Experience(f"{p.id}/{n}", p.id, t["text"], t["reward"], t["reward"] >= threshold, t["feedback"], None, 0, 0)
            for n, t in enumerate(p.data["traces"])
        )
        for p in problems
        if "traces" in p.data
    }


def trace_id(prompt: str) -> str:
    """Of the problem with this text, white space aside: the same wherever it was met."""
    return "trace/" + hashlib.sha256(" ".join(prompt.split()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def reward_of(value: Any) -> float:
    """Raises BadRow where it is no number in [0, 1]; true and false are 1 and 0."""
    if not isinstance(value, bool | int | float) or math.isnan(value) or not 0 <= value <= 1:
        raise BadRow("no 'reward'" if value is None else f"the reward is {value!r:.40}, not a number in [0, 1]")
    return float(value)


def chat_of(messages: Any) -> Chat:
    """Messages as a chat. Raises BadRow."""
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise BadRow(
            "no 'messages'" if messages is None else f"'messages' is {describe_type(messages)} instead of a list"
        )
    said = [_said(message, number) for number, message in enumerate(messages, 1)]
    first = next((i for i, (role, _) in enumerate(said) if role == "assistant"), None)
    if first is None:
        raise BadRow("nobody replies in it (no message of the role assistant)")
    before = said[:first]
    prompt = "\n\n".join(text for role, text in before if role == "user")
    if not prompt.strip():
        raise BadRow("nobody asks in it (no message of the role user before the first reply)")
    system = "\n\n".join(text for role, text in before if role in ("system", "developer"))
    roles = {"assistant": "assistant", "tool": "tool", "function": "tool"}
    turns = tuple(Turn(roles.get(role, "user"), text) for role, text in said[first:])  # type: ignore[arg-type]
    return Chat(system, prompt, turns)


def _said(message: Any, number: int) -> tuple[str, str]:
    """Role and text of one message, with its tool calls."""
    where = f"message {number}"
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        raise BadRow(f"{where} is no message with a role ({', '.join(ROLES)})")
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    if content is not None and not isinstance(content, str):
        raise BadRow(f"the content of {where} is {describe_type(content)} instead of a string")
    lines = [content] if content else []
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise BadRow(f"the tool calls of {where} are {describe_type(calls)} instead of a list")
    lines += [_call(call, where) for call in calls]
    return message["role"], check_text("\n".join(lines), where)


def _call(call: Any, where: str) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadRow(f"a tool call of {where} names no function")
    arguments = function.get("arguments", "{}")
    return f"call {function['name']} {arguments if isinstance(arguments, str) else json.dumps(arguments)}"
