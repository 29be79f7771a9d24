"""Hears what a program asks of language models, whichever modules it is made of and whichever models they ask."""

from __future__ import annotations

import json
import threading
from typing import Any

from dspy.lm15 import Request
from dspy.utils.callback import BaseCallback

from pmd_agent.runs.program_trace import Call, Message


class Listener(BaseCallback):  # type: ignore[misc]
    """For one run of a program: give it to `dspy.context(callbacks=...)`. The program may use threads of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}

    @property
    def calls(self) -> list[Call]:
        """Those so far, in the order in which they were sent."""
        with self._lock:
            return list(self._calls.values())

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        call = Call(str(getattr(instance, "model", "")), _messages(inputs.get("prompt"), inputs.get("messages")))
        with self._lock:
            self._calls[call_id] = call

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        error = f"{type(exception).__name__}: {exception}" if exception is not None else ""
        with self._lock:
            sent = self._calls[call_id]
            self._calls[call_id] = Call(sent.model, sent.messages, _answers(outputs), error)


def _messages(prompt: Any, messages: Any) -> tuple[Message, ...]:
    """What was sent, in each of the forms that DSPy takes."""
    if isinstance(prompt, Request):
        system = (Message("system", _text(prompt.system)),) if prompt.system is not None else ()
        return (*system, *(Message(m.role, m.text or "") for m in prompt.messages))
    if messages:
        return tuple(Message(str(m["role"]), _text(m["content"])) for m in messages)
    return (Message("user", _text(prompt)),)


def _answers(outputs: Any) -> tuple[str, ...]:
    """DSPy answers with a list of texts, or of objects with a text where there is more to say; or with one response."""
    if outputs is None:
        return ()
    if not isinstance(outputs, (list, tuple)):
        return (str(getattr(outputs, "text", outputs)),)
    return tuple(_text(output) for output in outputs)


def _text(content: Any) -> str:
    """A text as it is; anything richer as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and set(content) == {"text"} and isinstance(content["text"], str):
        return str(content["text"])
    if isinstance(content, (list, tuple)) and all(hasattr(part, "text") for part in content):
        return "".join(part.text or "" for part in content)
    return json.dumps(content, ensure_ascii=False, default=str)
