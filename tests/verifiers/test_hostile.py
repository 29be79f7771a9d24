"""Whatever reads a model's text takes time that grows with its length alone: 100,000 characters of one kind, well within a second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from dspy.utils.exceptions import AdapterParseError

from pmd_agent.evaluation.diagnostics import repetition, speaks_of_memory
from pmd_agent.pipelines import StrictJSONAdapter
from pmd_agent.pipelines.signatures import Contrast
from pmd_agent.text import last_boxed, neutralise, strip_thinking, without_group_commas
from pmd_agent.types import Problem
from pmd_agent.verifiers import Exact, MultipleChoice
from pmd_agent.verifiers.answer_tag import tagged_answer
from pmd_agent.verifiers.markup import LONGEST_READ, plain
from pmd_agent.verifiers.mathematics import (
    LONGEST,
    _known,
    _listed,
    _without_unit,
    answer_in,
    to_be_worked_out,
)
from pmd_agent.verifiers.names import kept_apart, result_of, unassigned
from pmd_agent.verifiers.notation import out_of_order, set_condition
from pmd_agent.verifiers.words import with_words

QUICK, LENGTH = 20_000, 100_000
PARTS = [
    "a", "A", "1", " ", "\n", ".", ",", "-", "+", "=", ":", "'", '"', "*", "**", "_", "`", "```", "#", "~", "&", "|", "$", "\\", "\\\\",
    "(", ")", "[", "]", "{", "}", "<", ">", "^", "^{", "√", "½", "²", "1,", "1,234", "1,234,", "1 ", "1 234 ", "1\\,", "1.", "1/", "1:", "1e",
    "e1", "1_", "1 base ", "x=", "x = ", "\\ ", "\\,", "\\frac", "\\frac{", "\\frac{1}", "\\sqrt", "\\text{", "\\text{a} ", "\\text{a}^2", "\\left",
    "\\color{", "\\begin{", "\\boxed", "\\boxed ", "\\boxed{", "\\boxed1 ", "\\boxed\\frac", "\\fbox{}", "\\boxed{}", "<answer>", "</answer>",
    "<answer> ", "<think>", "</think>", "< think", "<reasoning>", "</reasoning>", "<|", "<|a|>", "<|a", "[/INST", "<<SYS", "</s", "&#1", "&amp;",
    "<b", "<br>", "and ", "or ", "A or ", "A, ", "A , ", "A: ", "A.\n", "(A) ", "A (", "A) is ", "the ", "answer ", "the answer is ", "option ", "so, ",
    "therefore ", "is correct ", "p.m", "p. m. ", "sqrt", "sin(", "pi ", "1 foot ", "feet and ", "{\"a\":", "[", "\\u0000", "\t", "\u00a0", "\u2028",
]  # fmt: skip
PROBLEM = Problem("p", "?", "B", data={"choices": ("A", "B", "C", "D")})


def parsed(text: str) -> None:
    with suppress(AdapterParseError):
        StrictJSONAdapter().parse(Contrast, text)


READERS: dict[str, Callable[[str], object]] = {
    "strip_thinking": strip_thinking,
    "last_boxed": last_boxed,
    "without_group_commas": without_group_commas,
    "neutralise": neutralise,
    "tagged_answer": tagged_answer,
    "plain": plain,
    "answer_in": answer_in,
    "exact": lambda text: Exact(feedback=True).verify(PROBLEM, text),
    "multiple choice": lambda text: MultipleChoice().verify(PROBLEM, text),
    "published": lambda text: MultipleChoice("published").verify(PROBLEM, text),
    "repetition": repetition,
    "speaks_of_memory": speaks_of_memory,
    "adapter": parsed,
}
SHORT: dict[str, Callable[[str], object]] = {
    "to_be_worked_out": lambda text: (to_be_worked_out("5", text), to_be_worked_out(text, "5")),
    "known": lambda text: _known("5 \\text{ cm}", text),
    "listed": _listed,
    "unassigned": lambda text: unassigned(text, text),
    "kept_apart": lambda text: kept_apart(text, text),
    "result_of": result_of,
    "out_of_order": lambda text: out_of_order(text, "AB^{-1}"),
    "set_condition": set_condition,
    "without_unit": _without_unit,
    "with_words": with_words,
}
"""What reads an answer that is short enough: LONGEST characters."""


def shapes(part: str, length: int) -> list[str]:
    run = part * (length // len(part))
    return [
        run,
        f"1{run}x?",
        f"\\boxed{{{run}}}",
        f"<answer>{run}</answer>",
        f"```{run}x",
        json.dumps({"strategies": run}),
    ]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("length", [QUICK, pytest.param(LENGTH, marks=pytest.mark.slow)])
def test_a_long_text_takes_no_time(name: str, length: int) -> None:
    for part in PARTS:
        for text in shapes(part, length)[:: 3 if length == QUICK else 1]:
            started = time.process_time()
            READERS[name](text)
            taken = time.process_time() - started
            assert taken < 2 * length / LENGTH, (part, text[:20], taken)  # on a machine whose cores are shared


@pytest.mark.parametrize("name", ["plain", *SHORT])
def test_nor_does_the_longest_answer_that_is_read(name: str) -> None:
    for part in PARTS:
        for text in shapes(part, LONGEST_READ if name == "plain" else LONGEST):
            started = time.process_time()
            (SHORT.get(name) or READERS[name])(text)
            taken = time.process_time() - started
            assert taken < 0.3, (part, text[:20], taken)
