"""Prompts become token ids once: attempts, the teacher's budget and its page, and each evaluation ask for the same ones."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from typing import Any

from pmd_agent.models.templates import ChatTemplate, Messages

MOST_TOKENS = 1 << 21
"""Of all prompts that are kept: 8 MiB, and the texts besides."""


class Encoder:
    """A chat template and a tokenizer, with the prompts that were asked for lately. May be called from several threads."""

    def __init__(self, template: ChatTemplate, tokenizer: Any, most: int = MOST_TOKENS) -> None:
        self._template, self._tokenizer, self._most = template, tokenizer, most
        self._kept: OrderedDict[str, array[int]] = OrderedDict()
        self._tokens = 0
        self._lock = threading.Lock()

    def __call__(self, messages: Messages, thinking: bool | None = None) -> list[int]:
        """The prompt as token ids, ready for an answer; the list is the caller's own."""
        key = repr((messages, thinking))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key].tolist()
        text = self._template.render(messages, thinking=thinking)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        self._keep(key, array("I", ids))
        return list(ids)

    def _keep(self, key: str, ids: array[int]) -> None:
        with self._lock:
            if key in self._kept:  # another thread was faster
                return
            self._kept[key] = ids
            self._tokens += len(ids)
            while self._tokens > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._tokens -= len(oldest)
