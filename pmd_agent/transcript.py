"""An episode as a text: what memory keeps, the reflector reads and a demonstration shows.

Turn 1
<the first reply>
> what the environment said to it
Turn 2
...
"""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.text import strip_thinking
from pmd_agent.types import Turn


def transcript(turns: Sequence[Turn]) -> str:
    """Replies without hidden reasoning, numbered; what the environment said behind `> `.

    A thought that was never closed ends with its reply: in the text as a whole it would go on to the end.
    """
    lines: list[str] = []
    replies = 0
    for turn in turns:
        if turn.role == "assistant":
            replies += 1
            lines += [f"Turn {replies}", strip_thinking(turn.content)]
        else:
            lines += [f"> {line}" for line in turn.content.splitlines()]
    return "\n".join(lines)
