"""pmd watch [RUN]"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.cli.arguments import A_RUN, runs

if TYPE_CHECKING:
    from pmd_agent.runs.folder import RunDir

NICE = 10
"""A run on the same cores goes first."""


def watch(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help=f"{A_RUN[:-1]}; the newest one.", autocompletion=runs)
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0: any that is free.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """A run as a page in the browser, live while it goes. For this machine alone, until interrupted."""
    import secrets
    import socket

    from pmd_agent.assembly.run_page import source_of
    from pmd_agent.console import Console
    from pmd_agent.errors import RunError
    from pmd_agent.reports.run_page.site import HOSTS, Site, serve

    console = Console()
    directory = _opened(run)
    token = secrets.token_urlsafe(16)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOSTS[0], port))
        listening.listen()  # so that nobody who is quick is turned away
    except OSError as error:
        raise RunError(f"Port {port} cannot be had: {error.strerror or error}.", "Leave out --port.") from error
    address = f"http://{HOSTS[0]}:{listening.getsockname()[1]}/{token}/"
    os.nice(NICE)
    console.info(f"{directory.path}: {address}")
    console.info("Ctrl-C ends it, and leaves the run alone")
    if open_browser:
        import webbrowser

        webbrowser.open(address)
    with suppress(KeyboardInterrupt):  # which the server may keep to itself
        serve(Site(source_of(directory, console.warn), token), listening)
    raise typer.Exit(130)


def _opened(run: str | None) -> RunDir:
    """The run of that name, or the newest in runs/. Raises RunError where there is none."""
    from pmd_agent.errors import RunError
    from pmd_agent.reports.run_page.source import newest
    from pmd_agent.runs.folder import RunDir

    if run is not None:
        return RunDir.open(run)
    found = newest(Path("runs"))
    if found is None:
        raise RunError(
            "There is no run in runs/.", "Start one: pmd run recipes/quickstart.yaml; or name a run's folder."
        )
    return RunDir.open(found)
