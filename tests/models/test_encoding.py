from __future__ import annotations

from typing import Any

import pytest

from pmd_agent.models.encoding import Encoder
from pmd_agent.models.templates import ChatTemplate


class Watched:
    """A tokenizer that notes what it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.texts = tokenizer, list[str]()

    def __call__(self, text: str, **options: Any) -> Any:
        self.texts.append(text)
        return self.tokenizer(text, **options)


@pytest.fixture
def watched(tokenizer: Any) -> Watched:
    return Watched(tokenizer)


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_prompt_is_tokenised_once_and_the_ids_are_the_callers_own(watched: Watched, tokenizer: Any) -> None:
    template = ChatTemplate(tokenizer, "tiny")
    encode = Encoder(template, watched)
    expected = tokenizer(template.render(says("1 + 1")), add_special_tokens=False).input_ids
    found = encode(says("1 + 1"))
    assert found == expected
    found.append(0)
    assert encode(says("1 + 1")) == expected and len(watched.texts) == 1


def test_modes_and_roles_are_told_apart(watched: Watched, tokenizer: Any) -> None:
    encode = Encoder(ChatTemplate(tokenizer, "tiny"), watched)
    encode(says("1"))
    encode(says("1"), True)
    encode([{"role": "system", "content": "1"}, *says("1")])
    assert len(watched.texts) == 3


def test_the_oldest_go_when_there_are_too_many_tokens(watched: Watched, tokenizer: Any) -> None:
    template = ChatTemplate(tokenizer, "tiny")
    one = len(Encoder(template, tokenizer)(says("1")))
    encode = Encoder(template, watched, most=2 * one)
    for text in ("1", "2", "1", "3"):  # 2 was asked for longest ago
        encode(says(text))
    before = len(watched.texts)
    encode(says("1"))
    assert len(watched.texts) == before == 3
    encode(says("2"))
    assert len(watched.texts) == 4
