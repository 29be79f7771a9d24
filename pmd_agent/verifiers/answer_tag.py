"""The answer of a completion: what stands in its last `<answer>...</answer>`.

Decisions:

- Tags are matched in any case, with up to two blanks inside (`< Answer >`).
- Only a complete pair counts: `<answer>B` that is cut off is no answer. Of several pairs the last one counts, because a
  model that corrects itself does so afterwards; of nested ones the innermost.
- What stands in a thinking or reasoning block is a draft, not the answer.
- Thinking (`<think>`, `<thinking>`): a block that is never closed goes on to the end (the model was cut off while
  thinking), and one that was never opened begins at the start (chat templates put the opening tag into the prompt).
- `<reasoning>` is part of the requested format, not of a template: only a complete pair is a block, so that a forgotten
  closing tag does not cost an answer that is given.
- One pass over the tags, no backtracking: a completion that repeats a tag thousands of times takes no longer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_THINKING = ("think", "thinking")
_REASONING = ("reasoning",)
_TAG = re.compile(r"<\s{0,2}(/?)\s{0,2}(think|thinking|reasoning|answer)\s{0,2}>", re.IGNORECASE)

Fault = Literal["", "missing", "unclosed", "in a block"]


@dataclass(frozen=True, slots=True)
class TaggedAnswer:
    """What the answer tag holds, or why there is none."""

    content: str | None
    """Between the tags, stripped; may be empty. None where there is no complete tag outside of blocks."""
    fault: Fault = ""


def tagged_answer(text: str) -> TaggedAnswer:
    """The last complete answer tag outside of thinking and reasoning."""
    outside = _without(strip_thinking(text), _REASONING, open_ended=False)
    content, unclosed = _last_answer(outside)
    if content is not None:
        return TaggedAnswer(content)
    if unclosed:
        return TaggedAnswer(None, "unclosed")
    return TaggedAnswer(None, "in a block" if _last_answer(text)[0] is not None else "missing")


def strip_thinking(text: str) -> str:
    """Without `<think>` blocks (see the decisions above). `<reasoning>` stays: it is part of the answer's format."""
    return _without(text, _THINKING, open_ended=True).strip()


def format_feedback(fault: Fault) -> str:
    """What to tell a model whose answer could not be found."""
    if fault == "unclosed":
        return "The <answer> tag is not closed; end with <answer>...</answer>."
    if fault == "in a block":
        return "The <answer> tag is inside the reasoning; close that first, then end with <answer>...</answer>."
    return "No <answer> tag was found; end with <answer>...</answer>."


def _last_answer(text: str) -> tuple[str | None, bool]:
    """The content of the last complete tag, and whether the last tag of all is an opening one."""
    content: str | None = None
    start: int | None = None
    for tag in _TAG.finditer(text):
        if tag[2].lower() != "answer":
            continue
        if not tag[1]:
            start = tag.end()
        elif start is not None:
            content, start = text[start : tag.start()].strip(), None
    return content, start is not None


def _without(text: str, names: tuple[str, ...], *, open_ended: bool) -> str:
    """`text` without the blocks of these tags. `open_ended`: also without those that lack one of their two tags."""
    kept: list[str] = []
    cursor, start = 0, None
    for tag in _TAG.finditer(text):
        if tag[2].lower() not in names:
            continue
        if not tag[1]:
            start = tag.start() if start is None else start
        elif start is not None:
            kept.append(text[cursor:start])
            cursor, start = tag.end(), None
        elif open_ended:
            kept.clear()
            cursor = tag.end()
    if start is not None and open_ended:
        return "".join([*kept, text[cursor:start]])
    return "".join([*kept, text[cursor:]])
