"""From a recipe to its policy, and to the trainer of it where it learns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_agent.api_keys import read_key
from pmd_agent.console import Console
from pmd_agent.errors import PolicyError
from pmd_agent.policies import Policy
from pmd_agent.recipe import LocalPolicySection, Recipe, ScriptedPolicySection, VllmPolicySection

if TYPE_CHECKING:
    from pmd_agent.distillation.parallel import Team
    from pmd_agent.distillation.trainer import Trainer
    from pmd_agent.policies.local import LocalPolicy
    from pmd_agent.policies.vllm.policy import VllmPolicy

BATCH_TOKENS = 65_536
"""Of a vLLM run's weights in this process, for which the recipe has no such key."""


def build_policy(recipe: Recipe, console: Console, team: Team | None) -> tuple[Policy, Trainer | None, int]:
    """The policy, its trainer where it learns, and the tokens it can read and write in all."""
    section = recipe.policy
    if isinstance(section, ScriptedPolicySection) or not recipe.distill.enabled:
        policy, context = frozen_policy(recipe, None, console)
        return policy, None, context
    from pmd_agent.distillation.build import build_trainer

    tokenizer = _checked(section.model, console)
    trainer = build_trainer(recipe, section, tokenizer, team=team, warn=console.warn)
    if isinstance(section, VllmPolicySection):
        served = _served(recipe, section, tokenizer, None, console)
        return served, trainer, served.context
    policy = _local(recipe, section, trainer.model, tokenizer)
    return policy, trainer, policy.context


def frozen_policy(recipe: Recipe, adapter: Path | None, console: Console, *, server: bool = True) -> tuple[Policy, int]:
    """The policy with that adapter, or as it is, and the tokens it can read and write in all. Nothing trains it.

    `server`: where the recipe has a vLLM server it answers; else the weights are loaded here.
    """
    section = recipe.policy
    if isinstance(section, ScriptedPolicySection):
        from pmd_agent.policies.scripted import ScriptedPolicy

        return ScriptedPolicy(section.answers), 1 << 30
    from pmd_agent.models.adapters import load_adapter
    from pmd_agent.models.loading import load_base

    tokenizer = _checked(section.model, console)
    if server and isinstance(section, VllmPolicySection):
        served = _served(recipe, section, tokenizer, adapter, console)
        return served, served.context
    model = load_base(section.model, dtype=section.dtype, device=section.device)
    if adapter is None:
        policy = _local(recipe, section, model, tokenizer)
    else:
        model = load_adapter(model, adapter)
        policy = _local(recipe, section, model, tokenizer, reload=partial(_with_or_without, model))
    return policy, policy.context


def _with_or_without(model: Any, adapter: Path | None) -> Any:
    """The model with the adapter that it has, or for None as its base: the weights are there once."""
    if adapter is None:
        model.base_model.disable_adapter_layers()
    else:
        model.base_model.enable_adapter_layers()
    return model


def _checked(model: str, console: Console) -> Any:
    """The model's tokenizer, when the model is one that can be practised with. What is odd about it is said."""
    from pmd_agent.models.gguf import to_convert
    from pmd_agent.models.loading import check_model, load_tokenizer

    if said := to_convert(model):
        console.info(said)
    tokenizer = load_tokenizer(model)
    for line in check_model(model):
        console.warn(line)
    return tokenizer


def _local(
    recipe: Recipe,
    section: LocalPolicySection | VllmPolicySection,
    model: Any,
    tokenizer: Any,
    reload: Callable[[Path | None], Any] | None = None,
) -> LocalPolicy:
    from pmd_agent.policies.local import LocalPolicy

    name, batch_tokens = Path(section.model).name, getattr(section, "batch_tokens", BATCH_TOKENS)
    return LocalPolicy(
        model,
        tokenizer,
        name=name,
        thinking=section.thinking,
        tool_format=recipe.rollout.episode.tool_format,
        batch_tokens=batch_tokens,
        reload=reload,
    )


def key_for(section: VllmPolicySection) -> str:
    """Of the running server; empty where it has none. Raises PolicyError where it would leave this machine unasked."""
    return read_key(section.api_key, section.address or "127.0.0.1", PolicyError)


def _served(
    recipe: Recipe, section: VllmPolicySection, tokenizer: Any, adapter: Path | None, console: Console
) -> VllmPolicy:
    """The policy on a vLLM server, which is started when the first weights are loaded."""
    from pmd_agent.models.adapters import check_adapter
    from pmd_agent.models.loading import read_limits
    from pmd_agent.policies.vllm.policy import VllmPolicy
    from pmd_agent.policies.vllm.server import RunningServer, Server, VllmServer
    from pmd_agent.policies.vllm.server_arguments import adapter_rank, settings_of

    if adapter is not None:
        check_adapter(section.model, adapter)
    rank = recipe.distill.lora.rank if adapter is None else adapter_rank(adapter)
    context, eos_ids = read_limits(section.model, tokenizer)
    context = min(context, section.max_model_len or context)
    server: Server
    if section.address is not None:
        server = RunningServer(
            section.address, key=key_for(section), patience=section.start_seconds, progress=console.info
        )
    else:
        server = VllmServer(
            settings_of(section, lora_rank=rank, max_model_len=context),
            Path("vllm.log"),
            start_seconds=section.start_seconds,
            restarts=section.restarts,
            progress=console.info,
        )
    return VllmPolicy(
        server,
        tokenizer,
        context=context,
        eos_ids=eos_ids,
        thinking=section.thinking,
        tool_format=recipe.rollout.episode.tool_format,
        in_flight=section.in_flight,
        timeout=section.request_seconds,
        sleep=section.sleep,
        copies=section.data_parallel,
        warn=console.warn,
    )
