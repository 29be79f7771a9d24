"""How answers end: the tokens that end one, and whether they are those with which the chat template ends a turn."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pmd_agent.errors import PolicyError
from pmd_agent.models.templates import ChatTemplate

QUESTION, ANSWER, NEXT = "What comes after three?", "Four comes after three", "And after four?"


def end_ids(name: str, configured: int | list[int] | None, tokenizer: Any, vocabulary: int) -> tuple[int, ...]:
    """Ids that end an answer: those that the model is configured with, and the tokenizer's. Raises PolicyError for none."""
    found = configured if isinstance(configured, list) else [configured]
    ids = dict.fromkeys([*found, tokenizer.eos_token_id])
    known = tuple(i for i in ids if isinstance(i, int) and 0 <= i < vocabulary)
    if not known:
        raise PolicyError(
            f"{name} has no end-of-sequence token, so no answer of it would end.",
            "Set eos_token in its tokenizer_config.json, or eos_token_id in its generation_config.json, to the token "
            "with which its chat template ends a turn; or choose another policy.model.",
        )
    return known


def padding_id(tokenizer: Any, ends: Collection[int]) -> int:
    """What fills short rows; it is never read."""
    return int(next(iter(ends)) if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def odd_ends(name: str, tokenizer: Any, ends: Collection[int]) -> list[str]:
    """A line where the chat template ends the assistant's turn with something that ends no answer, else none."""
    found = _turn_ends(name, tokenizer)
    if any(token in ends for token in found):
        return []
    token = next((t for t in found if t is not None), None)
    written = "no token of its own" if token is None else repr(tokenizer.convert_ids_to_tokens(token))
    known = ", ".join(repr(tokenizer.convert_ids_to_tokens(i)) for i in ends)
    return [
        f"the chat template of {name} ends a turn with {written}, and an answer ends with {known}: answers may run to their "
        "limit (a base model does so; an instruction-tuned one lacks an eos_token_id in generation_config.json)"
    ]


def turn_ends(name: str, tokenizer: Any) -> tuple[int, ...]:
    """The special tokens with which the chat template ends the assistant's turn; none where it has none of its own."""
    return tuple(dict.fromkeys(token for token in _turn_ends(name, tokenizer) if token is not None))


def _turn_ends(name: str, tokenizer: Any) -> list[int | None]:
    """At the end of a conversation, and within one."""
    template = ChatTemplate(tokenizer, name)
    talk = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    last = template.render(talk, answer_next=False).rpartition(ANSWER)[2]
    inner = template.render([*talk, {"role": "user", "content": NEXT}]).partition(ANSWER)[2].partition(NEXT)[0]
    return [_first_special(tokenizer, text) for text in (last, inner)]


def _first_special(tokenizer: Any, text: str) -> int | None:
    """Of the tokens of a text, the first that is not made of letters but has been added, such as `<|im_end|>`."""
    added = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return next((i for i in ids if i in added), None)
