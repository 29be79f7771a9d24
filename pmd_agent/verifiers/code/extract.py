"""The program in a completion: its last complete ```python block; where none is named so, the last without a name.

- What is thought aloud (`<think>`) holds drafts and is taken off first.
- A block is complete where its closing fence is there: a completion that is cut off gives no program.
- `python`, `py` and `python3` are Python; a block of another language is passed over. One without a name counts where
  none is named Python: beside a program it is mostly an output.
- An opening fence inside of an open block means that the first was never closed: the second counts.
- An indented fence takes its indentation off its lines, so that a block in a list is a program.
"""

from __future__ import annotations

import re

from pmd_agent.text import strip_thinking

_LANGUAGE = re.compile(r"[A-Za-z0-9_+.-]*")
_DEEPEST = 12
"""Blanks before a fence."""
_PYTHON = frozenset(("python", "py", "python3"))


def last_program(text: str) -> str | None:
    """None where there is no complete block of Python."""
    found: dict[bool, str] = {}  # by whether the block is named Python
    lines: list[str] | None = None
    language = indent = ""
    for line in strip_thinking(text).split("\n"):
        fence = _fence(line)
        if fence and (lines is None or fence[1]):
            indent, language, lines = *fence, []
        elif fence and lines is not None:
            if not language or language in _PYTHON:
                found[bool(language)] = "\n".join(lines) + "\n"
            lines = None
        elif lines is not None:
            lines.append(line.removeprefix(indent))
    return found.get(True, found.get(False))


def _fence(line: str) -> tuple[str, str] | None:
    """Its indentation and its language, if the line is one. Linear in the line, whatever it is."""
    rest = line.lstrip(" \t")
    indent = line[: len(line) - len(rest)]
    if len(indent) > _DEEPEST or not rest.startswith("```") or "`" in rest[3:]:
        return None
    found = _LANGUAGE.match(rest[3:].lstrip(" \t"))
    return indent, found[0].lower() if found else ""
