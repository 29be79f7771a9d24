"""What a run has learnt, served by vLLM in the foreground."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from pmd_agent.errors import PolicyError, RunError
from pmd_agent.policies.vllm.process_guard import Leash, clear_up
from pmd_agent.policies.vllm.server_arguments import adapter_rank, server_command, server_environment, settings_of
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


def check(run: RunDir) -> list[str]:
    """What is odd about the run's model. Raises PolicyError where it or its adapter would not answer as what was learnt."""
    from pmd_agent.models.adapters import check_adapter
    from pmd_agent.models.loading import check_model

    section = run.recipe.policy
    assert not isinstance(section, ScriptedPolicySection), "`serving` has refused it"
    odd = check_model(section.model)
    check_adapter(section.model, run.adapter_path)
    return odd


def require_vllm(python: str) -> None:
    """Raises PolicyError where that interpreter has no vLLM; nothing of vLLM is imported."""
    look = "import importlib.util, sys; sys.exit(3 if importlib.util.find_spec('vllm') is None else 0)"
    hint = (
        "Install it (`pip install 'pmd-agent[vllm]'`; without a GPU: docs/vllm.md), "
        "or name an interpreter that has it: --python PATH."
    )
    if Path(python).absolute() == Path(sys.executable).absolute():
        found = importlib.util.find_spec("vllm") is not None
    else:
        try:
            found = subprocess.run([python, "-c", look], capture_output=True, timeout=60).returncode != 3
        except (OSError, subprocess.SubprocessError) as error:
            raise PolicyError(f"The interpreter {python} cannot be run: {error}", hint) from None
    if not found:
        raise PolicyError(f"vLLM is not installed for {python}, and `pmd serve` runs it.", hint)


def serve(command: list[str], environment: dict[str, str]) -> int:
    """Run the server until it ends, and return its exit status. An interrupt ends it, children included."""
    leash = Leash()
    process = leash.spawn(command, os.environ | environment, None)
    try:
        return process.wait()
    finally:
        leash.close()
        clear_up(process)
