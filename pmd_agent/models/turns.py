"""Where one turn of a conversation ends and the next begins, as token ids: nothing is tokenised twice.

A policy goes on from the ids that it read and wrote. Between its reply and its next one stands what the chat template puts
there: the end of its turn, what others say, and the beginning of its next turn. That is found by rendering the template
around a mark in the reply's place, so the reply itself is never rendered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pmd_agent.environment import Reply
from pmd_agent.errors import PolicyError
from pmd_agent.models.templates import HINT, ChatTemplate, Messages, tools_of
from pmd_agent.models.tool_formats import Tools, read_calls
from pmd_agent.types import Completion

MARK = "what was replied"
CALL = {"name": "tool_to_try", "tool_call_id": "000000000"}
TALK = ("What comes after three?", "Four does.", "And after four?", "Five does.", "And after five?", "Six does.")


class Turns:
    """A chat template's turns. `tool` messages are a user's where the template loses those."""

    def __init__(self, template: ChatTemplate, tokenizer: Any, ends: Collection[int] = ()) -> None:
        """`ends`: ids with which a reply may end, of which a template may know several: Llama ends a call with `<|eom_id|>`."""
        self._template, self._tokenizer = template, tokenizer
        self._ends = frozenset(ends)
        self._keeps_tools: bool | None = None

    def between(self, opening: Messages, said: Messages, last: int | None) -> tuple[int, ...]:
        """The ids from the end of a reply to the beginning of the next, when `said` stands between them.

        `last` is the reply's last id: the end of its turn is not repeated. Raises PolicyError.
        """
        said = self._as_taken(opening, said)
        if tools_of(opening) and self._template.tool_format == "mistral":
            # It tells of tools before the last user's message, so it would tell of them again.
            opening = [{k: v for k, v in opening[0].items() if k != "tools"}, *opening[1:]]
        mark = MARK
        while any(mark in message["content"] for message in (*opening, *said)):
            mark += "."
        text = self._template.render([*opening, {"role": "assistant", "content": mark}, *said])
        _, found, after = text.rpartition(mark)
        if not found:
            raise PolicyError("The chat template loses what the assistant says before another turn.", HINT)
        ids: list[int] = self._tokenizer(after, add_special_tokens=False).input_ids
        return tuple(ids[1:] if ids and self._ends_as(last, ids[0]) else ids)

    def heard(self, completion: Completion, tools: Tools, turn: int) -> Reply:
        """A reply with its calls of these tools. The text of a completion lacks special tokens, by which some models mark them."""
        ids: Sequence[int] = completion.completion_ids
        if ids and ids[-1] in self._ends:
            ids = ids[:-1]
        whole = str(self._tokenizer.decode(list(ids), skip_special_tokens=False))
        return Reply(completion.text, *read_calls(self._template.tool_format, whole, tools, turn))

    def departure(self) -> str:
        """How a conversation that goes on from exact ids departs from what the template writes of it as a whole.

        Empty: not at all. Templates may drop a turn's reasoning once it is over; ids that were read stay.
        """
        talk = [{"role": role, "content": text} for text, role in zip(TALK, ("user", "assistant") * 3, strict=True)]
        whole = self._ids(self._template.render(talk, answer_next=False))
        ids = self._ids(self._template.render(talk[:1]))
        for i in (1, 3, 5):
            ids += self._ids(talk[i]["content"])
            ids += self.between(talk[:1], talk[i + 1 : i + 2], None) if i < 5 else ()
        if ids == whole[: len(ids)]:
            return ""
        ours, theirs = self._tokenizer.decode(ids), self._tokenizer.decode(whole)
        at = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        return f"goes on with {ours[at : at + 40]!r} where the template writes {theirs[at : at + 40]!r} afterwards"

    def _ends_as(self, last: int | None, end: int) -> bool:
        """Whether a reply's last id is this end of a turn, or another that the template knows."""
        if last is None or last == end or not {last, end} <= self._ends:
            return last == end
        return str(self._tokenizer.convert_ids_to_tokens(last)) in str(self._tokenizer.chat_template)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _as_taken(self, opening: Messages, said: Messages) -> Messages:
        if not any(message["role"] == "tool" for message in said):
            return said
        if self._keeps_tools is None:
            trial = [*opening, {"role": "assistant", "content": MARK}, {"role": "tool", "content": TALK[0]} | CALL]
            try:
                self._keeps_tools = TALK[0] in self._template.render(trial).rpartition(MARK)[2]
            except PolicyError:
                self._keeps_tools = False
        if self._keeps_tools:
            return said
        return [{"role": "user", "content": message["content"]} for message in said]
