"""Chat templates: what is refused, and how a conversation is put to those that know no system message."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest

from pmd_agent.errors import PolicyError
from pmd_agent.models import templates
from pmd_agent.models.templates import ChatTemplate, Messages

Make = Callable[[str], ChatTemplate]
TURN = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ CONTENT }}<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
PLAIN = TURN.replace("CONTENT", "m['content']") + OPEN
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system message') }}{% endif %}" + PLAIN
IN_TURN = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('in turn') }}{% endif %}{% endfor %}" + PLAIN
)
SILENT = PLAIN.replace("<|im_start|>{{", "{% if m['role'] != 'system' %}<|im_start|>{{", 1).replace(
    "<|im_end|>\n", "<|im_end|>\n{% endif %}", 1
)
TALK: Messages = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
]


def turn(content: str) -> str:
    return TURN.replace("CONTENT", content) + OPEN


@pytest.fixture
def make(tokenizer: Any) -> Make:
    """make(source): the tiny model's tokenizer with that template."""

    def with_template(source: str) -> ChatTemplate:
        other = copy.deepcopy(tokenizer)
        other.chat_template = source
        return ChatTemplate(other, "odd")

    return with_template


@pytest.mark.parametrize("source", [PLAIN, turn("m['content'] | trim")])
def test_a_sound_template_gets_the_messages_as_they_are(make: Make, source: str) -> None:
    template = make(source)
    assert template.turns(TALK) == TALK
    assert template.render(TALK).endswith("<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n")
    assert template.render(TALK, answer_next=False).endswith("three<|im_end|>\n")


@pytest.mark.parametrize("source", [NO_SYSTEM, IN_TURN, SILENT])
def test_without_a_system_role_its_text_goes_before_the_users(make: Make, source: str) -> None:
    template = make(source)
    assert template.render(TALK[:2]) == ("<|im_start|>user\nbe brief\n\none<|im_end|>\n<|im_start|>assistant\n")
    assert [m["content"] for m in template.turns(TALK)] == ["be brief\n\none", "two", "three"]
    assert template.turns(TALK[:1]) == [{"role": "user", "content": "be brief"}]
    assert template.turns(TALK[1:]) == TALK[1:]


def test_roles_in_turn(make: Make) -> None:
    both = [TALK[1], {"role": "user", "content": "and"}]
    assert make(IN_TURN).turns(both) == [{"role": "user", "content": "one\n\nand"}]
    assert make(NO_SYSTEM).turns(both) == both


@pytest.mark.parametrize(
    "content",
    [
        "''",
        "{% for part in m['content'] %}{{ part['text'] }}{% endfor %}",
        "m['content'][:40]",
        "m['content'] | upper",
        "m['content'] | e",
        "m['content'] | tojson",
        "m['content'].splitlines() | first",
        "m['content'] if m['role'] != 'user' else ''",
        "m['content'] if m['role'] != 'assistant' else ''",
        "m['content'] if loop.last else ''",
    ],
)
def test_a_template_that_loses_or_changes_content_is_refused(make: Make, content: str) -> None:
    source = TURN.replace("{{ CONTENT }}", content) + OPEN if content.startswith("{%") else turn(content)
    with pytest.raises(PolicyError, match="loses or changes what a message says") as error:
        make(source)
    assert "policy.model" in error.value.hint


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('never') }}",
        "{% for m in",
        "{{ messages.frob.frob }}",
        "{{ 1 // 0 }}",
        "{{ ''.__class__.__mro__[1].x.y }}",
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused(make: Make, source: str) -> None:
    with pytest.raises(PolicyError, match="of odd cannot be rendered") as error:
        make(source)
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"
        + PLAIN,
        PLAIN + "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = a * b %}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_never_ends_is_refused(make: Make, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "SECONDS", 0.3)
    began = time.thread_time()
    with pytest.raises(PolicyError, match="does not end"):
        make(source)
    assert time.thread_time() - began < 3


def test_content_that_a_template_refuses_later_is_one_message(make: Make) -> None:
    template = make("{% if messages[0]['content'] == 'bad' %}{{ raise_exception('bad word') }}{% endif %}" + PLAIN)
    with pytest.raises(PolicyError, match="bad word"):
        template.render([{"role": "user", "content": "bad"}])
