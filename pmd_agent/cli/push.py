"""pmd push RUN --to OWNER/NAME"""

from __future__ import annotations

from typing import Annotated

import typer

from pmd_agent.cli.arguments import Run


def push(
    run: Run,
    to: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The repository on the Hugging Face hub.")],
    merge: Annotated[bool, typer.Option("--merge", help="Whole weights instead of an adapter.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Anyone may read it; else it is private.")] = False,
    update: Annotated[bool, typer.Option("--update", help="It may be there: replace what is in it.")] = False,
) -> None:
    """Send what `pmd export` writes to a repository on the Hugging Face hub, which is made, private, as one commit.

    The token is that of `hf auth login`, or HF_TOKEN.
    """
    import sys

    from pmd_agent.console import Console
    from pmd_agent.runs.folder import RunDir

    directory = RunDir.open(run)
    from pmd_agent.push import push_run

    if not sys.stderr.isatty():
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
    console = Console()
    address = push_run(directory, to, merge=merge, public=public, update=update, say=console.warn, done=console.info)
    console.info(f"{address}: {'a whole model' if merge else 'an adapter'}; its page says how to load it")
