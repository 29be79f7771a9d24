"""Chat templates: the one place where a conversation becomes text.

A template is a program that comes with a model, so it is tried before it is used: what it is given has to be in what it
writes. Where it knows no system message, the system's text goes before the user's; where it wants user and assistant in
turn, messages of one role are put together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pmd_agent.errors import PolicyError

Messages = list[dict[str, str]]
"""A conversation: role and content of each turn."""
SECONDS = 5.0
"""Of processor time that a trial may take; real templates take thousandths."""
HINT = "Set policy.model to a model with another chat template, or mend the template in the model's folder."
MARKUP = "a <b> & \"c\" 'd' {e} {{ f }} {% g %} \\frac{1}{2} é 漢\n\n    an indented line\n"
LONG = "\n".join(f"line {number} of a long message" for number in range(200))


class _Endless(Exception):
    """A trial took too long."""


class ChatTemplate:
    """A tokenizer's chat template, tried. Raises PolicyError where it cannot be rendered, never ends, or loses content."""

    def __init__(self, tokenizer: Any, name: str, *, thinking: bool = False) -> None:
        self._tokenizer, self._name, self._thinking = tokenizer, name, thinking
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

    def turns(self, messages: Messages) -> Messages:
        """The conversation as the template can take it."""
        turns = _folded(messages) if self._folds else messages
        return _merged(turns) if self._merges else turns

    def _text(self, messages: Messages, answer_next: bool, thinking: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(
            self.turns(messages),
            tokenize=False,
            add_generation_prompt=answer_next,
            enable_thinking=thinking,
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
