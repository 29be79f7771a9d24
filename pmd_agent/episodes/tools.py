"""Tools: the policy calls them in its replies, reads what they answer, and ends the episode with a reply that calls none.

An episode with tools has no reward of its own: the verifier reads the last reply. How a call is written is the model's own affair
(models/tool_formats.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmd_agent.environment import Call, Reply
from pmd_agent.types import Problem

MOST_CALLS = 8
"""In one reply; further ones are not made."""
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a policy may call."""

    name: str
    description: str
    """For the policy: what it does."""
    parameters: Mapping[str, Any]
    """The JSON schema of an object with its arguments."""
    run: Callable[..., str]
    """Called with the arguments by name. What it raises says nothing about the policy."""

    @property
    def schema(self) -> dict[str, Any]:
        """As OpenAI has it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def refusal(self, arguments: Mapping[str, Any]) -> str:
        """Why it cannot be called with these, for the policy to read; empty where it can. Only the outermost names and types."""
        properties = self.parameters.get("properties") or {}
        missing = [name for name in self.parameters.get("required") or () if name not in arguments]
        # By the letter of JSON schema what is not named is allowed, but where names are given it is a mistake.
        more = self.parameters.get("additionalProperties", not properties)
        odd = [name for name in arguments if name not in properties] if more is False else []
        wrong = [name for name, value in arguments.items() if not _fits(value, properties.get(name))]
        if not missing and not odd and not wrong:
            return ""
        takes = ", ".join(f"{name} ({_kind(about) or 'anything'})" for name, about in properties.items()) or "nothing"
        return f"error: {self.name} takes {takes}" + (f", and {missing[0]} is missing" if missing else "")


class ToolEpisode:
    """One attempt at a problem with these tools."""

    def __init__(self, tools: Sequence[Tool], close: Callable[[], None] | None = None) -> None:
        """`close`: is called with the episode's end."""
        self._tools = {tool.name: tool for tool in tools}
        self._close = close

    def start(self, problem: Problem) -> list[dict[str, Any]]:
        """The problem, and the tools."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": problem.system}] if problem.system else []
        messages.append({"role": "user", "content": problem.prompt})
        messages[0] |= {"tools": [tool.schema for tool in self._tools.values()]}
        return messages

    def act(self, reply: str) -> list[dict[str, str]] | None:
        """The answer to each call; None where there is none."""
        calls = reply.calls if isinstance(reply, Reply) else ()
        return [
            {"role": "tool", "content": self._answered(call), "name": call.name, "tool_call_id": call.id}
            for call in calls[:MOST_CALLS]
        ] or None

    def close(self) -> None:
        """What was opened for this episode; a sandbox is the run's."""
        if self._close is not None:
            self._close()

    def _answered(self, call: Call) -> str:
        if call.fault:
            return f"error: {call.fault}"
        tool = self._tools.get(call.name)
        if tool is None:
            return f"error: there is no such tool; there is {', '.join(self._tools)}"
        return tool.refusal(call.arguments) or tool.run(**call.arguments)


def python_tool(**settings: Any) -> Tool:
    """The Python tool that ships, in a sandbox with these settings, which all episodes share."""
    from pmd_agent.verifiers.code.script import Scripts

    scripts = Scripts(**settings)
    return Tool(
        "python",
        "Runs a Python program, with the standard library, and answers what it prints. Nothing stays between calls.",
        {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "the whole program"}},
            "required": ["code"],
        },
        lambda code: scripts.run(code),
    )


def _kind(about: Any) -> str:
    found = about.get("type") if isinstance(about, Mapping) else None
    return found if isinstance(found, str) else ""


def _fits(value: Any, about: Any) -> bool:
    kind = _kind(about)
    if kind in ("integer", "number") and isinstance(value, bool):
        return False
    return kind not in _KINDS or isinstance(value, _KINDS[kind])
