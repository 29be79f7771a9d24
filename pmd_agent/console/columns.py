"""Texts beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

from pmd_agent.console.words import safe

COLUMN = 36
"""Cells that a column needs: below that, lines of text are too short to read."""
GAP = " │ "


def beside(texts: Mapping[str, str], width: int) -> Iterator[str]:
    """The lines of a table with a column for each text, whose head is its name. Words are broken where they are too long."""
    room = (width - len(GAP) * (len(texts) - 1)) // len(texts)
    columns = [[name, "─" * room, *_wrapped(safe(text), room)] for name, text in texts.items()]
    for cells in zip_longest(*columns, fillvalue=""):
        yield GAP.join(cell + " " * (room - cell_len(cell)) for cell in cells).rstrip()


def _wrapped(text: str, room: int) -> list[str]:
    """Lines of at most so many cells, broken at spaces where there are any; what a line is indented by stays."""
    found = []
    for line in text.expandtabs(4).splitlines():
        while cell_len(line) > room:
            head = chop_cells(line, room)[0]
            at = head.rfind(" ", len(head) - len(head.lstrip()))
            cut = at if at > 0 and line[len(head)] != " " else len(head)
            found.append(line[:cut].rstrip())
            line = line[cut:].lstrip(" ")
        found.append(line)
    return found
