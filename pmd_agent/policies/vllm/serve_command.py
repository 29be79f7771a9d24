"""What a run has learnt, served by vLLM in the foreground."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

from pmd_agent.api_keys import is_here
from pmd_agent.errors import PolicyError, RunError
from pmd_agent.policies.vllm.process_guard import Leash, clear_up
from pmd_agent.policies.vllm.server_arguments import adapter_rank, server_command, server_environment, settings_of
from pmd_agent.recipe import LocalPolicySection, ScriptedPolicySection, VllmPolicySection
from pmd_agent.runs.folder import RunDir


def serving(
    run: RunDir,
    adapter: Path,
    *,
    host: str,
    port: int,
    python: str = "",
    gpu_share: float = 0.9,
    arguments: tuple[str, ...] = (),
) -> tuple[list[str], dict[str, str]]:
    """The command, and what its environment has beside this one, that serve the adapter under the run's name.

    `gpu_share` is of a GPU that the server has to itself. Interpreter and options are those given here: the recipe in a
    run's folder, which may be somebody else's, names no program that is run.
    """
    settings = settings_of(
        section_of(run),
        lora_rank=adapter_rank(adapter),
        gpu_share=gpu_share,
        sleep=False,
        python=python,
        arguments=arguments,
    )
    command = server_command(settings, port=port, host=host, adapters={run.recipe.name: adapter.resolve()})
    return command, server_environment(settings, adapters_change=False)


def section_of(run: RunDir) -> LocalPolicySection | VllmPolicySection:
    """Raises RunError where the run has no weights."""
    section = run.recipe.policy
    if isinstance(section, ScriptedPolicySection):
        raise RunError(f"{run.path} ran a {section.type} policy, which has no weights.", "Serve a run with a model.")
    return section


def not_taken(run: RunDir, python: str, arguments: tuple[str, ...]) -> list[str]:
    """What the run's recipe says of the server and is not followed, each with what to type to have it so."""
    section = section_of(run)
    found = []
    if (named := getattr(section, "python", "")) and not python:
        found.append(
            f"the run's recipe names an interpreter, which is not run from there: --python {shlex.quote(named)}"
        )
    if (options := getattr(section, "arguments", ())) and not arguments:
        found.append(f"the run's recipe has options of vLLM, which are not taken from there: -- {shlex.join(options)}")
    return found


def require_key(host: str, arguments: tuple[str, ...]) -> None:
    """Raises PolicyError where other machines are let in and nobody asks them for a key."""
    keyed = os.environ.get("VLLM_API_KEY") or any(a == "--api-key" or a.startswith("--api-key=") for a in arguments)
    if not keyed and not is_here(host):
        raise PolicyError(
            f"--host {host} lets other machines in, and no key is asked of them: whoever reaches the port could use the model.",
            "export VLLM_API_KEY=..., or pass a key on: -- --api-key KEY.",
        )


def check(run: RunDir, adapter: Path) -> list[str]:
    """What is odd about the run's model. Raises PolicyError where it or its adapter would not answer as what was learnt."""
    from pmd_agent.models.adapters import check_adapter
    from pmd_agent.models.loading import check_model

    section = section_of(run)
    odd = check_model(section.model)
    check_adapter(section.model, adapter)
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
