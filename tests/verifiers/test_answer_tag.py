from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_agent.text import strip_thinking
from pmd_agent.verifiers.answer_tag import tagged_answer


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("<answer>A</answer>", "A"),
        ("<reasoning>so</reasoning>\n<answer>\nA\n</answer>", "A"),
        ("<ANSWER>A</Answer>", "A"),
        ("< answer >A< / answer >", "A"),
        ("<answer></answer>", ""),
        ("<answer>A</answer> no: <answer>B</answer>", "B"),
        ("<answer>A</answer> no: <answer>B", "A"),
        ("<answer><answer>A</answer></answer>", "A"),
        ("<answer>A <answer>B</answer>", "B"),
        ("</answer><answer>A</answer></answer>", "A"),
        ("<reasoning><answer>A</answer></reasoning><answer>B</answer>", "B"),
        ("<answer>B</answer><reasoning><answer>A</answer></reasoning>", "B"),
        ("<answer><reasoning>A?</reasoning>B</answer>", "B"),
        ("<reasoning>never closed <answer>A</answer>", "A"),
        ("never opened</reasoning><answer>A</answer>", "A"),
        ("<answer>A</answer></reasoning>", "A"),
        ("<think>is it <answer>A</answer>?</think><answer>B</answer>", "B"),
        ("is it <answer>A</answer>?</think><answer>B</answer>", "B"),
        ("<think>a<think>b</think><answer>A</answer></think><answer>B</answer>", "B"),
        ("<thinking>a</thinking><reasoning>b</reasoning><answer>A</answer>", "A"),
        ("<answer>x < y and <b>bold</b></answer>", "x < y and <b>bold</b>"),
        ("<answer>two\nlines</answer>", "two\nlines"),
    ],
)
def test_the_last_complete_answer_outside_of_blocks(text: str, content: str) -> None:
    assert tagged_answer(text).content == content
    assert tagged_answer(text).fault == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "missing"),
        ("The answer is A.", "missing"),
        ("<answers>A</answers>", "missing"),
        ("</answer>", "missing"),
        ("<answer>A", "unclosed"),
        ("<reasoning>x</reasoning><answer>A<answer>", "unclosed"),
        ("<reasoning><answer>A</answer></reasoning>", "in a block"),
        ("<think><answer>A</answer>", "in a block"),
        ("<answer>A</answer></think>", "in a block"),
        ("<think>cut off", "missing"),
    ],
)
def test_why_there_is_none(text: str, fault: str) -> None:
    assert tagged_answer(text).content is None
    assert tagged_answer(text).fault == fault


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<think>", "</think>", "<reasoning>", "</reasoning>", "<answer>", "</answer>", "A", "b c", "<"]
        )
    ).map("".join)
)
def test_any_order_of_tags_is_taken(text: str) -> None:
    found = tagged_answer(text)
    assert (found.content is None) == (found.fault != "")
    assert found.content is None or "<answer>" not in found.content
    assert "<think>" not in strip_thinking(text) and "</think>" not in strip_thinking(text)


@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 100_000,
        "<answer>" * 100_000,
        "</reasoning>" * 100_000,
        "<" * 500_000,
        "<" + " " * 500_000,
        "< /" * 200_000,
    ],
)
def test_a_tag_repeated_for_ever_takes_no_longer(text: str) -> None:
    start = time.process_time()
    tagged_answer(text)
    assert time.process_time() - start < 2.0
