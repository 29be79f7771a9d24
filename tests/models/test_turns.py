"""Turns of a conversation as token ids: those of the template over the whole, or the difference is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pmd_agent.models.templates import ChatTemplate, Messages
from pmd_agent.models.turns import MARK, Turns

PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = PLAIN.replace("<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif")
"""Opens each answer with an empty thought, which it drops once the turn is over."""
NO_TOOLS = (
    "{% for m in messages if m['role'] != 'tool' %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + PLAIN
NO_SPECIALS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
OPENING: Messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "compute 37 zog 14"}]
Make = Callable[[str], tuple[Turns, ChatTemplate, Any]]


@pytest.fixture
def make(tokenizer: Any) -> Make:
    def with_template(source: str) -> tuple[Turns, ChatTemplate, Any]:
        other = copy.deepcopy(tokenizer)
        other.chat_template = source
        template = ChatTemplate(other, "odd")
        return Turns(template, other), template, other

    return with_template


def user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("source", [PLAIN, NO_SYSTEM])
@pytest.mark.parametrize(
    "opening", [OPENING, OPENING[1:], [*OPENING, {"role": "assistant", "content": "41"}, *user("no")]]
)
def test_stitched_ids_are_those_of_the_whole(make: Make, source: str, opening: Messages) -> None:
    turns, template, tokenizer = make(source)
    end = tokenizer.eos_token_id
    ids = tokenizer(template.render(opening), add_special_tokens=False).input_ids
    talk = list(opening)
    for reply, said in [
        ("37", user("Right. And 14?")),
        ("", user(f"{MARK} {MARK}.")),
        ("max", [*user("a"), *user("b")]),
    ]:
        ids += [*tokenizer(reply, add_special_tokens=False).input_ids, end]
        ids += turns.between(opening, said, end)
        talk += [{"role": "assistant", "content": reply}, *said]
        assert ids == tokenizer(template.render(talk), add_special_tokens=False).input_ids
    assert turns.departure() == ""


def test_a_reply_that_was_cut_has_its_turn_ended(make: Make) -> None:
    turns, _, tokenizer = make(PLAIN)
    ids = tokenizer("37", add_special_tokens=False).input_ids
    after = turns.between(OPENING, user("And?"), ids[-1])
    assert after[0] == tokenizer.eos_token_id
    assert after[1:] == turns.between(OPENING, user("And?"), tokenizer.eos_token_id)


@pytest.mark.parametrize(("source", "says"), [(THINKING, "<think>"), (NO_SPECIALS, "goes on with")])
def test_the_difference_is_named(make: Make, source: str, says: str) -> None:
    turns, _, _ = make(source)
    assert says in turns.departure()


def test_a_template_without_tools_gets_a_users_message(make: Make) -> None:
    tool: Messages = [{"role": "tool", "content": "41"}]
    with_tools, without = make(PLAIN)[0], make(NO_TOOLS)[0]
    assert without.between(OPENING, tool, None) == without.between(OPENING, user("41"), None)
    assert with_tools.between(OPENING, tool, None) != with_tools.between(OPENING, user("41"), None)
