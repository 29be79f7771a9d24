"""Hints for whoever calls from Python: what is typed on the command line, as it is written there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pmd_agent.errors import PMDError

_WORDS = (
    (re.compile(r"`?\bpmd run (?:RECIPE|(\S+?)(?:/recipe\.yaml)?) --resume`?"), r"Run.open(\1).finish()"),
    (re.compile(r"\b(goes on|go on|on|Go on with it|go on with it) (with|by) --resume\b"), r"\1 \2 Run.open(FOLDER)"),
    (re.compile(r"--(name|to|problems|on) ([A-Z]+)\b"), r"\1=\2"),
    (re.compile(r"--(resume|base|merge|with-memory)\b"), r"\1=True"),
)


@contextmanager
def for_python() -> Iterator[None]:
    """Within, or as a decorator: the hints of PMDErrors name arguments, and not options of the command."""
    try:
        yield
    except PMDError as error:
        error.hint = in_python(error.hint)
        raise


def in_python(hint: str) -> str:
    """The hint in a Python program's words."""
    for option, argument in _WORDS:
        hint = option.sub(argument, hint)
    return hint.replace("with-memory=", "with_memory=").replace("Run.open()", "Run.open(FOLDER)")
