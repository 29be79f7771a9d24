"""pmd serve RUN"""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in runs/.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM OPTIONS]", help="Passed on to vLLM as they are.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")] = 8000,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 lets other machines in: then pass --api-key KEY on.")
    ] = "127.0.0.1",
    python: Annotated[str, typer.Option(help="An interpreter that has vLLM; this one by default.")] = "",
    gpu_share: Annotated[float, typer.Option(min=0.05, max=1.0, help="Of each GPU's memory.")] = 0.9,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command and stop.")] = False,
) -> None:
    """Serve what a run has learnt with vLLM, as an OpenAI-compatible server, until interrupted."""
    from pmd_agent.console import Console
    from pmd_agent.policies.vllm.serve_command import check, require_vllm, serving
    from pmd_agent.policies.vllm.serve_command import serve as run_server
    from pmd_agent.policies.vllm.server_arguments import typed
    from pmd_agent.runs.folder import RunDir

    directory = RunDir.open(run)
    command, environment = serving(
        directory, host=host, port=port, python=python, gpu_share=gpu_share, arguments=tuple(arguments or ())
    )
    console = Console()
    for line in check(directory):
        console.warn(line)
    if not dry_run:
        require_vllm(command[0])
    console.info(typed(command, environment))
    if dry_run:
        return
    console.info(f"the model's name is {directory.recipe.name}, at http://{host}:{port}/v1; Ctrl-C ends it")
    try:
        status = run_server(command, environment)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(status)
