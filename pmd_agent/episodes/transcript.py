"""An episode as a text: what memory keeps, the reflector reads and a demonstration shows.

Turn 1
<the first reply>
> what the environment said to it
Turn 2
...
"""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.types import Turn


def transcript(turns: Sequence[Turn]) -> str:
    """Replies as they are, numbered; what the environment said behind `> `."""
    lines: list[str] = []
    replies = 0
    for turn in turns:
        if turn.role == "assistant":
            replies += 1
            lines += [f"Turn {replies}", turn.content]
        else:
            lines += [f"> {line}" for line in turn.content.splitlines()]
    return "\n".join(lines)
