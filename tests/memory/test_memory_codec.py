"""Entries <-> what Chroma can hold."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_agent.memory.backend.codec import decode, encode, escape, natural, tier_of, unescape
from pmd_agent.text import readable

HOSTILE = st.lists(
    st.one_of(
        st.text(st.characters(), max_size=4),
        st.sampled_from(
            ["\x00", "\x10", "\x100000", "\ud83d", "\ude00", "\U0001f600", "<|im_end|>", "\\ud83d", '"', "\r\n"]
        ),
    ),
    max_size=8,
).map("".join)


@given(HOSTILE)
def test_escaped_text_is_storable_and_comes_back(text: str) -> None:
    stored = escape(text)
    assert "\x00" not in stored
    assert stored.encode("utf-8").decode("utf-8") == stored
    assert unescape(stored) == text


@given(HOSTILE)
def test_readable_text_is_storable(text: str) -> None:
    assert "\x00" not in readable(text)
    readable(text).encode("utf-8")


def test_ordinary_text_is_stored_as_it_reads() -> None:
    text = "Größe: 100 % \\ud83d <|im_start|> \U0001f600\n\t"
    assert escape(text) == readable(text) == text


@given(HOSTILE, HOSTILE, st.one_of(st.none(), HOSTILE))
def test_entries_come_back_equal(make: SimpleNamespace, text: str, feedback: str, answer: str | None) -> None:
    for entry in (
        make.experience(text=text, feedback=feedback, answer=answer, reward=0.1),
        make.insight(text=text, sources=(text, feedback), confidence=1 / 3),
        make.behavior(text=text, cluster=feedback, sources=()),
    ):
        packed = encode(entry)
        packed.encode("utf-8")
        back = decode(tier_of(entry), packed)
        assert back == entry
        assert type(back) is type(entry)


def test_two_lone_surrogates_are_not_one_character(make: SimpleNamespace) -> None:
    pair, one = make.experience(text="\ud83d\ude00"), make.experience(text="\U0001f600")
    assert decode("experience", encode(pair)).text == "\ud83d\ude00"
    assert decode("experience", encode(one)).text == "\U0001f600"


@pytest.mark.parametrize(("earlier", "later"), [("3/p/9", "3/p/10"), ("3/p2/0", "3/p10/0"), ("a", "b"), ("", "a")])
def test_natural_order(earlier: str, later: str) -> None:
    assert natural(earlier) < natural(later)
