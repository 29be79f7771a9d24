"""pmd serve RUN"""

from __future__ import annotations

from typing import Annotated

import typer

from pmd_agent.cli.arguments import Run


def serve(
    run: Run,
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
    from pmd_agent.errors import RunError
    from pmd_agent.policies.vllm import serve_command
    from pmd_agent.policies.vllm.server_arguments import typed
    from pmd_agent.runs.folder import RunDir

    given = tuple(arguments or ())
    serve_command.require_key(host, given)
    directory = RunDir.open(run)
    serve_command.section_of(directory)
    console = Console()
    for line in serve_command.not_taken(directory, python, given):
        console.warn(line)
    from pmd_agent.models.run_adapter import adapter_of

    with adapter_of(directory, "serve another run", console.warn) as adapter:
        if adapter is None:
            raise RunError(
                f"{directory.path} has no adapter to serve: it learns nothing.", "Serve its base model itself."
            )
        command, environment = serve_command.serving(
            directory, adapter.folder, host=host, port=port, python=python, gpu_share=gpu_share, arguments=given
        )
        for line in serve_command.check(directory, adapter.folder):
            console.warn(line)
        if not dry_run:
            serve_command.require_vllm(command[0])
        console.info(typed(command, environment))
        if dry_run:
            if adapter.folder != directory.adapter_path:
                console.warn("the adapter's folder is gone after this command: mend the run first, with --resume")
            return
        console.info(f"the model's name is {directory.recipe.name}, at http://{host}:{port}/v1; Ctrl-C ends it")
        try:
            status = serve_command.serve(command, environment)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        raise typer.Exit(status)
