"""What is done to a model's own text before a model reads it again."""

from __future__ import annotations

import re

# Markers by which chat templates set turns apart: ChatML and its kin, DeepSeek's wide bars, Llama 2, Gemma, plain bos/eos.
_MARKER = re.compile(r"<[|｜][^<>|｜]{1,40}[|｜]>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>")
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


def neutralise(text: str) -> str:
    """The text without the markers by which it could pose as another speaker."""
    return _MARKER.sub(" ", text)


def strip_thinking(text: str) -> str:
    """The text without hidden reasoning, an unfinished one included (SDPO strips it from demonstrations as well)."""
    return _THINKING.sub("", text).strip()
