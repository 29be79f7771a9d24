"""The answer of a completion: what stands in its last `<answer>...</answer>`.

Decisions:

- Tags are matched in any case, with up to two blanks inside (`< Answer >`).
- Only a complete pair counts: `<answer>B` that is cut off is no answer. Of several pairs the last one counts, because a
  model that corrects itself does so afterwards; of nested ones the innermost.
- What stands in a thinking or reasoning block is a draft, not the answer.
- Thinking is taken off as everywhere (`text.strip_thinking`).
- `<reasoning>` is part of the requested format, not of a template: only a complete pair is a block, so that a forgotten
  closing tag does not cost an answer that is given.
- One pass over the tags, no backtracking: a completion that repeats a tag thousands of times takes no longer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pmd_agent.text import strip_thinking

_TAG = re.compile(r"<\s{0,2}(/?)\s{0,2}(reasoning|answer)\s{0,2}>", re.IGNORECASE)

Fault = Literal["", "missing", "unclosed", "in a block"]


@dataclass(frozen=True, slots=True)
class TaggedAnswer:
    """What the answer tag holds, or why there is none."""

    content: str | None
    """Between the tags, stripped; may be empty. None where there is no complete tag outside of blocks."""
    fault: Fault = ""


def tagged_answer(text: str) -> TaggedAnswer:
    """The last complete answer tag outside of thinking and reasoning."""
    outside = _without_reasoning(strip_thinking(text))
    content, unclosed = _last_answer(outside)
    if content is not None:
        return TaggedAnswer(content)
    if unclosed:
        return TaggedAnswer(None, "unclosed")
    return TaggedAnswer(None, "in a block" if _last_answer(text)[0] is not None else "missing")


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


def _without_reasoning(text: str) -> str:
    """`text` without complete reasoning blocks."""
    kept: list[str] = []
    cursor, start = 0, None
    for tag in _TAG.finditer(text):
        if tag[2].lower() != "reasoning":
            continue
        if not tag[1]:
            start = tag.start() if start is None else start
        elif start is not None:
            kept.append(text[cursor:start])
            cursor, start = tag.end(), None
    return "".join([*kept, text[cursor:]])
