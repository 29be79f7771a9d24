"""What a run has learnt, served by vLLM in the foreground."""

from __future__ import annotations

import os

from pmd_agent.errors import RunError
from pmd_agent.policies.vllm.command import adapter_rank, server_command, server_environment, settings_of
from pmd_agent.policies.vllm.leash import Leash, clear_up
from pmd_agent.recipe import ScriptedPolicySection
from pmd_agent.runs.folder import RunDir


def serving(
    run: RunDir, *, host: str, port: int, python: str = "", gpu_share: float = 0.9, arguments: tuple[str, ...] = ()
) -> tuple[list[str], dict[str, str]]:
    """The command, and what its environment has beside this one, that serve the run's adapter under the run's name.

    `gpu_share` is of a GPU that the server has to itself. Raises RunError where the run has no adapter.
    """
    section = run.recipe.policy
    if isinstance(section, ScriptedPolicySection):
        raise RunError(f"{run.path} ran a {section.type} policy, which has no weights.", "Serve a run with a model.")
    folder = run.adapter_path.resolve()
    if not (folder / "adapter_config.json").is_file():
        raise RunError(
            f"{run.path} has no adapter to serve.",
            f"Finish it with `pmd run {run.path / 'recipe.yaml'} --resume`; a run with distill.enabled=false has none.",
        )
    own = (*settings_of(section).arguments, *arguments)
    more = {"python": python} if python else {}
    settings = settings_of(
        section, lora_rank=adapter_rank(folder), gpu_share=gpu_share, sleep=False, arguments=own, **more
    )
    command = server_command(settings, port=port, host=host, adapters={run.recipe.name: folder})
    return command, server_environment(settings, adapters_change=False)


def serve(command: list[str], environment: dict[str, str]) -> int:
    """Run the server until it ends, and return its exit status. An interrupt ends it, children included."""
    leash = Leash()
    process = leash.spawn(command, os.environ | environment, None)
    try:
        return process.wait()
    finally:
        leash.close()
        clear_up(process)
