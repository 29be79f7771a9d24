from __future__ import annotations

import time

import pytest

from pmd_agent.text import last_boxed, strip_thinking


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>a</think>\n\nb", "b"),
        ("a</think>b", "b"),
        ("a\n <think>b", "a"),
        ("<think>b", ""),
        ("</think><think>b", ""),
        ("a <think>b", "a <think>b"),
        ("Open with <think>, then answer: 4", "Open with <think>, then answer: 4"),
        ("a `<think>` b\n`</think>` c", "a `<think>` b\n`</think>` c"),
        ("<think>a `</think>` b</think>c", "c"),
        ("<think>```x```</think>```y```", "```y```"),
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


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{ \{1, 2\} }", r"\{1, 2\}"),
        (r"$\boxed 7$", "7"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"{ \boxed{3} ", "3"),
        (r"} \boxed{3}", "3"),
        (r"\boxed{}", ""),
        (r"\boxed{4", None),
        ("boxed{4}", None),
        (r"\fbox{3}.", "3"),
        (r"\framebox{3}", "3"),
        (r"\boxed{\fbox{3}}", "3"),
        (r"it is \boxed\frac12.", r"\frac12"),
        (r"$\boxed\frac{1}{2}$ or so", r"\frac{1}{2}"),
        (r"$\boxed-\frac12$", r"-\frac12"),
        (r"\(\boxed5\)", "5"),
        (r"\boxed\text{a b} c", r"\text{a b}"),
        (r"\boxed\{1,2\}", r"\{1,2\}"),
        (r"\boxed1 \boxed\) x", "1"),
        (r"\boxedx{1}", None),
        ("", None),
    ],
)
def test_what_is_in_the_last_box(text: str, inside: str | None) -> None:
    assert last_boxed(text) == inside


def test_many_boxes_take_no_time() -> None:
    started = time.process_time()
    assert last_boxed(r"\boxed{" * 20_000 + "}" * 20_000) == ""
    assert last_boxed(r"\boxed{" * 20_000) is None
    assert time.process_time() - started < 2.0
