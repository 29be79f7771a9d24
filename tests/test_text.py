from __future__ import annotations

import pytest

from pmd_agent.text import strip_thinking


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>a</think>\n\nb", "b"),
        ("a</think>b", "b"),
        ("a <think>b", "a"),
        ("a<think>b</think>c</think>d", "d"),
        ("<think>a</think>b<think>c</think>d", "bd"),
        ("<THINKING>a</thinking>b", "b"),
        ("<reasoning>a</reasoning>b", "<reasoning>a</reasoning>b"),
        ("a <thin> b", "a <thin> b"),
        ("", ""),
    ],
)
def test_strip_thinking(text: str, left: str) -> None:
    assert strip_thinking(text) == left
