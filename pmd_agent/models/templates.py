"""Chat templates: the one place where a conversation becomes text.

A template is a program that comes with a model, so it is tried before it is used: what it is given has to be in what it
writes. Where it knows no system message, the system's text goes before the user's; where it wants user and assistant in
turn, messages of one role are put together.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import Any

from pmd_agent.errors import PolicyError
from pmd_agent.models.tool_formats import ToolFormat, described, format_of

Messages = list[dict[str, str]]
"""A conversation: role and content of each turn. The first may have `tools`: JSON, a list of functions in OpenAI's schema."""
SECONDS = 5.0
"""Of processor time that a trial may take; real templates take thousandths."""
HINT = "Set policy.model to a model with another chat template, or mend the template in the model's folder."
MARKUP = "a <b> & \"c\" 'd' {e} {{ f }} {% g %} \\frac{1}{2} é 漢\n\n    an indented line\n"
TRIED_TOOL = {
    "type": "function",
    "function": {
        "name": "tool_to_try",
        "description": "What it does.",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "Which one."}},
            "required": ["code"],
        },
    },
}
LONG = "\n".join(f"line {number} of a long message" for number in range(200))


class _Endless(Exception):
    """A trial took too long."""


class ChatTemplate:
    """A tokenizer's chat template, tried. Raises PolicyError where it cannot be rendered, never ends, or loses content."""

    def __init__(
        self, tokenizer: Any, name: str, *, thinking: bool = False, tool_format: ToolFormat | None = None
    ) -> None:
        """`tool_format`: of the model's tool calls; None: as the template says."""
        self._tokenizer, self._name, self._thinking = tokenizer, name, thinking
        self._wanted_format = tool_format
        self._folds = self._merges = False
        system, user, assistant = (_message(role) for role in ("system", "user", "assistant"))
        with _within(SECONDS, name):
            self._require([user])
            self._folds = not self._keeps([system, user])
            self._merges = not self._keeps([user, _message("user", "again")])
            self._require([system, user, assistant, _message("user", "again")])

    def render(self, messages: Messages, *, answer_next: bool = True, thinking: bool | None = None) -> str:
        """The conversation as text; `answer_next`: ready for the assistant's answer. Raises PolicyError.

        `thinking`: whether in the thinking mode; None as at the start.
        """
        try:
            return self._text(messages, answer_next, self._thinking if thinking is None else thinking)
        except _Endless:
            raise
        except Exception as error:  # a template is somebody's program: whatever it raises is its own
            reason = " ".join(str(error).split()) or type(error).__name__
            raise PolicyError(f"The chat template of {self._name} cannot be rendered: {reason}", HINT) from None

    @cached_property
    def tool_format(self) -> ToolFormat:
        """`plain` where the template tells nothing of tools, or of a format that is not read here. Raises PolicyError."""
        found = self._wanted_format or format_of(str(self._tokenizer.chat_template or "")) or "plain"
        if found == "plain" or self._tells_of_tools():
            return found
        if self._wanted_format is None:
            return "plain"
        raise PolicyError(
            f"The chat template of {self._name} tells nothing of tools, and rollout.episode.tool_format is {found}.",
            "Set rollout.episode.tool_format=plain: the system message then tells of them.",
        )

    def _tells_of_tools(self) -> bool:
        asked = [{"role": "user", "content": "Which?"}]
        try:
            with _within(SECONDS, self._name):
                return TRIED_TOOL["function"]["name"] in self._written(asked, True, False, [TRIED_TOOL])  # type: ignore[index]
        except Exception:  # whatever it raises is its own: it cannot be given tools
            return False

    def turns(self, messages: Messages) -> Messages:
        """The conversation as the template can take it."""
        turns = _folded(messages) if self._folds else messages
        return _merged(turns) if self._merges else turns

    def _text(self, messages: Messages, answer_next: bool, thinking: bool) -> str:
        tools = tools_of(messages)
        messages = [{key: text for key, text in m.items() if key != "tools"} for m in messages] if tools else messages
        if tools and self.tool_format == "plain":
            return self._written(_told(messages, described(tools)), answer_next, thinking, None)
        return self._written(messages, answer_next, thinking, tools or None)

    def _written(self, messages: Messages, answer_next: bool, thinking: bool, tools: list[Any] | None) -> str:
        given = {} if tools is None else {"tools": tools}
        text: str = self._tokenizer.apply_chat_template(
            self.turns(messages),
            tokenize=False,
            add_generation_prompt=answer_next,
            enable_thinking=thinking,
            **given,
        )
        return text

    def _lost(self, messages: Messages) -> list[str]:
        """Roles whose content is not in the text."""
        text = self.render(messages, answer_next=messages[-1]["role"] != "assistant")
        return [m["role"] for m in messages if m["content"].strip() not in text]

    def _keeps(self, messages: Messages) -> bool:
        try:
            return not self._lost(messages)
        except PolicyError:
            return False

    def _require(self, messages: Messages) -> None:
        if lost := self._lost(messages):
            raise PolicyError(
                f"The chat template of {self._name} loses or changes what a message says (role {lost[0]}), "
                "so the model would not read its prompts.",
                HINT,
            )


def tools_of(messages: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """The tools of a conversation; empty where it has none."""
    found: list[dict[str, Any]] = json.loads(messages[0].get("tools", "[]")) if messages else []
    return found


def _told(messages: Messages, tools: str) -> Messages:
    """With this text at the end of the system's message."""
    if messages[0]["role"] != "system":
        return [{"role": "system", "content": tools}, *messages]
    system = "\n\n".join(part for part in (messages[0]["content"], tools) if part)
    return [messages[0] | {"content": system}, *messages[1:]]


def _message(role: str, more: str = "") -> dict[str, str]:
    """A message to try: markup, quotes and length may all be where a template goes wrong."""
    return {"role": role, "content": f"first words of {role} {more} {MARKUP}{LONG} last words of {role} {more}".strip()}


def _folded(messages: Sequence[dict[str, str]]) -> Messages:
    """Each system message's text before the text of the user's next message."""
    turns: Messages = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "system":
            waiting.append(message["content"])
        elif message["role"] == "user":
            turns.append(message | {"content": "\n\n".join([*waiting, message["content"]])})
            waiting = []
        else:
            turns.append(message)
    return [*turns, {"role": "user", "content": "\n\n".join(waiting)}] if waiting else turns


def _merged(messages: Sequence[dict[str, str]]) -> Messages:
    """Neighbours of one role as one message."""
    turns: Messages = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1] = message | {"content": f"{turns[-1]['content']}\n\n{message['content']}"}
        else:
            turns.append(message)
    return turns


@contextmanager
def _within(seconds: float, name: str) -> Iterator[None]:
    """Ends what runs in here after so much processor time: the sandbox of templates bounds one loop, not loops in loops."""
    until = time.thread_time() + seconds
    before = sys.gettrace()

    def look(frame: FrameType, event: str, argument: object) -> Any:
        if time.thread_time() > until:
            raise _Endless
        return look

    sys.settrace(look)
    try:
        yield
    except _Endless:
        raise PolicyError(f"The chat template of {name} does not end.", HINT) from None
    finally:
        sys.settrace(before)
