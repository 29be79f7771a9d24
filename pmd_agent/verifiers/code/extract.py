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

_FENCE = re.compile(r"^([ \t]{0,12})```[ \t]*([A-Za-z0-9_+.-]*)[^`\n]*$")
_PYTHON = frozenset(("python", "py", "python3"))


def last_program(text: str) -> str | None:
    """None where there is no complete block of Python."""
    found: dict[bool, str] = {}  # by whether the block is named Python
    lines: list[str] | None = None
    language = indent = ""
    for line in strip_thinking(text).split("\n"):
        fence = _FENCE.match(line.rstrip())
        if fence and (lines is None or fence[2]):
            indent, language, lines = fence[1], fence[2].lower(), []
        elif fence and lines is not None:
            if not language or language in _PYTHON:
                found[bool(language)] = "\n".join(lines) + "\n"
            lines = None
        elif lines is not None:
            lines.append(line.removeprefix(indent))
    return found.get(True, found.get(False))
