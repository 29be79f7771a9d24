"""How help is laid out: nothing is cut, at any width, and a reader who has gone is no error."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperGroup

from pmd_agent.errors import OutputError

WIDEST, NARROWEST = 100, 24


def context_settings() -> dict[str, Any]:
    """As wide as the terminal: by itself, help is never narrower than 50 columns."""
    return {"terminal_width": max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns) - 2)}


class Group(TyperGroup):
    """Commands with the first sentence of each, whole."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, found.get_short_help_str(10**6)) for name, found in commands if found and not found.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _closed_told():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _closed_told():
            return super().invoke(ctx)


@contextmanager
def _closed_told() -> Iterator[None]:
    """Typer ends with 1, which is for bugs."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        raise OutputError("Standard output is closed.", closed=True) from None
