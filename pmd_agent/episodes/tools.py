"""Tools: the policy calls them in its replies, reads what they answer, and ends the episode with a reply that calls none.

    <tool_call>
    {"name": "python", "arguments": {"code": "print(2 ** 10)"}}
    </tool_call>

That is how Qwen and the models that follow Hermes write a call; others are told so in the system message. An episode with
tools has no reward of its own: the verifier reads the last reply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmd_agent.text import strip_thinking
from pmd_agent.types import Problem

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
MOST_CALLS = 8
"""In one reply; further ones are not made."""
NO_CALL = 'error: that is no JSON object with "name" and "arguments"'


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a policy may call."""

    name: str
    description: str
    """For the policy: what it does."""
    parameters: Mapping[str, str]
    """Name -> what it is. All are wanted, and all are texts."""
    run: Callable[..., str]
    """Called with the parameters by name. What it raises says nothing about the policy."""


class ToolEpisode:
    """One attempt at a problem with these tools."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def start(self, problem: Problem) -> list[dict[str, str]]:
        """The problem, and in the system message the tools."""
        system = "\n\n".join(part for part in (problem.system, described(list(self._tools.values()))) if part)
        return [{"role": "system", "content": system}, {"role": "user", "content": problem.prompt}]

    def act(self, reply: str) -> list[dict[str, str]] | None:
        """The answer to each call; None where there is none."""
        calls = _CALL.findall(strip_thinking(reply))[:MOST_CALLS]
        return [{"role": "tool", "content": self._answered(call)} for call in calls] or None

    def close(self) -> None:
        """The sandbox is the run's."""

    def _answered(self, written: str) -> str:
        try:
            call = json.loads(written)
        except (ValueError, RecursionError):
            return NO_CALL
        arguments = call.get("arguments") if isinstance(call, dict) else None
        if not isinstance(arguments, dict):
            return NO_CALL
        tool = self._tools.get(call["name"]) if isinstance(call.get("name"), str) else None
        if tool is None:
            return f"error: there is no such tool; there is {', '.join(self._tools)}"
        if set(arguments) != set(tool.parameters) or not all(isinstance(v, str) for v in arguments.values()):
            return f"error: {tool.name} takes these texts: {', '.join(tool.parameters)}"
        return tool.run(**arguments)


def described(tools: Sequence[Tool]) -> str:
    """What a policy is told of them."""
    lines = [
        "You have tools. To call one, write a JSON object with its name and its arguments between <tool_call> and </tool_call>; "
        "its answer comes in the next turn. Answer without a call when you are done.",
        "<tools>",
    ]
    for tool in tools:
        properties = {name: {"type": "string", "description": about} for name, about in tool.parameters.items()}
        schema = {"type": "object", "properties": properties, "required": list(tool.parameters)}
        function = {"name": tool.name, "description": tool.description, "parameters": schema}
        lines.append(json.dumps({"type": "function", "function": function}))
    return "\n".join([*lines, "</tools>"])


def tool_episodes(names: Sequence[str], **settings: Any) -> Callable[[Problem], ToolEpisode]:
    """Episodes with these of the tools that ship. They share a sandbox, whose settings may be given."""
    from pmd_agent.verifiers.code.script import Scripts

    scripts = Scripts(**settings)
    shipped = {
        "python": Tool(
            "python",
            "Runs a Python program, with the standard library, and answers what it prints. Nothing stays between calls.",
            {"code": "the whole program"},
            lambda code: scripts.run(code),
        )
    }
    return lambda problem: ToolEpisode([shipped[name] for name in names])
