"""The command `pmd`: one file a command.

Help imports nothing heavy: each command imports what it needs when it runs, and a recipe is checked before that.
Exit codes: 0 done, 2 a mistake that the message says how to mend, 130 interrupted, 1 a bug, with its traceback.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated, TextIO

import typer

from pmd_agent.cli import bench, memory
from pmd_agent.cli.chat import chat
from pmd_agent.cli.compare import compare
from pmd_agent.cli.doctor import doctor
from pmd_agent.cli.evaluate import evaluate
from pmd_agent.cli.export import export
from pmd_agent.cli.group import Group, context_settings
from pmd_agent.cli.hub_retries import tell_once
from pmd_agent.cli.init import init
from pmd_agent.cli.list import list_runs
from pmd_agent.cli.problems import problems
from pmd_agent.cli.push import push
from pmd_agent.cli.report import report
from pmd_agent.cli.run import run
from pmd_agent.cli.schema import schema
from pmd_agent.cli.serve import serve
from pmd_agent.cli.sweep import sweep
from pmd_agent.cli.watch import watch
from pmd_agent.errors import OutputError, PMDError

app = typer.Typer(
    name="pmd",
    cls=Group,
    context_settings=context_settings(),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(init)
app.command()(run)
app.command()(problems)
app.command("list")(list_runs)
app.command()(evaluate)
app.command()(chat)
app.command()(watch)
app.command()(report)
app.command()(compare)
app.command()(sweep)
app.add_typer(memory.app, name="memory")
app.command()(export)
app.command()(push)
app.command()(serve)
app.command()(doctor)
app.add_typer(bench.app, name="bench")
app.command()(schema)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("pmd-agent"))
        raise typer.Exit


@app.callback()
def pmd(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Procedural Memory Distillation: practise, remember, and absorb what was learnt into the weights."""


def main() -> None:
    """Run the command line and exit."""
    tell_once()
    try:
        app(prog_name="pmd")
    except Exception as error:
        told = _to_tell(error)
        if told is None:
            raise
        _settle(sys.stdout)
        if not getattr(told, "closed", False):
            from pmd_agent.console import Console

            with suppress(OutputError):
                Console().error(told)
        _settle(sys.stderr)
        sys.exit(2)


def _to_tell(error: Exception) -> PMDError | None:
    """What the user can mend; None for a bug. A full disk is met by whichever library writes first."""
    if isinstance(error, PMDError):
        return error
    from pmd_agent.runs.disk import refusal

    return refusal(error)


def _settle(stream: TextIO | None) -> None:
    """What a stream did not take stays in its buffer, and would fail once more at the end, with a traceback."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
