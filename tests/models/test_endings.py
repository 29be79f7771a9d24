"""What ends an answer, and a chat template that ends its turns with something else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pmd_agent.errors import PolicyError
from pmd_agent.models.endings import end_ids, odd_ends, padding_id

TURNS = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}END{% endfor %}"


def other(tokenizer: Any, **values: Any) -> Any:
    found = copy.deepcopy(tokenizer)
    for name, value in values.items():
        setattr(found, name, value)
    return found


def test_ends_are_those_of_the_model_and_of_the_tokenizer(tokenizer: Any) -> None:
    own = tokenizer.eos_token_id
    assert end_ids("m", None, tokenizer, 300) == (own,)
    assert end_ids("m", [7, own, 9], tokenizer, 300) == (7, own, 9)
    assert end_ids("m", 7, other(tokenizer, eos_token=None), 300) == (7,)


@pytest.mark.parametrize("configured", [None, [], [None], -1, 300, [500]])
def test_an_end_that_no_token_is_is_none(tokenizer: Any, configured: Any) -> None:
    with pytest.raises(PolicyError, match="m has no end-of-sequence token"):
        end_ids("m", configured, other(tokenizer, eos_token=None), 300)


def test_rows_are_filled_with_the_padding_or_an_end(tokenizer: Any) -> None:
    assert padding_id(tokenizer, (7,)) == tokenizer.pad_token_id
    assert padding_id(other(tokenizer, pad_token=None), (7,)) == 7


@pytest.mark.parametrize("end", ["<|im_end|>\n", " <|im_end|>", "\n<|im_end|>"])
def test_a_template_that_ends_turns_with_an_end(tokenizer: Any, end: str) -> None:
    made = other(tokenizer, chat_template=TURNS.replace("END", end))
    assert odd_ends("m", made, [tokenizer.eos_token_id]) == []


def test_an_end_after_the_last_turn_alone_is_enough(tokenizer: Any) -> None:
    """Some templates close a turn within a conversation with another token than the last one."""
    last = "{{ '<|im_end|>' if loop.last else '<|im_start|>' }}"
    assert odd_ends("m", other(tokenizer, chat_template=TURNS.replace("END", last)), [tokenizer.eos_token_id]) == []


@pytest.mark.parametrize("end", ["<|im_start|>", "\n", "", " stop "])
def test_a_template_that_ends_turns_with_anything_else_is_said(tokenizer: Any, end: str) -> None:
    (line,) = odd_ends("m", other(tokenizer, chat_template=TURNS.replace("END", end)), [tokenizer.eos_token_id])
    assert "of m ends a turn with '<|im_start|>'" in line and "'<|im_end|>'" in line
