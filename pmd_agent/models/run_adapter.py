"""The adapter that a run has: the one that it ended with, or as its newest whole checkpoint has it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd_agent.errors import RunError
from pmd_agent.models.adapters import STATE, WEIGHTS, check_adapter
from pmd_agent.models.loading import resolve_model
from pmd_agent.recipe import ScriptedPolicySection
from pmd_agent.runs.checkpoints import committed, number_of
from pmd_agent.runs.disk import told
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.whole import damage

CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class RunAdapter:
    """An adapter's folder, as peft reads it."""

    folder: Path
    step: int
    """As of the step before this one."""


@contextmanager
def adapter_of(run: RunDir, otherwise: str, say: Callable[[str], None]) -> Iterator[RunAdapter | None]:
    """The run's adapter, for as long as the context lasts; None for a run that learns nothing, whose policy is the base.

    Where the run has not ended, or its adapter is damaged, that of the newest checkpoint that is whole, in a folder of its
    own; `say` hears so. The run's folder is only read. Raises RunError, whose hint ends with what can be had without one.
    """
    if not run.learns:
        yield None
        return
    there = (run.adapter_path / CONFIG).is_file()
    reason = damage(run.adapter_path) or ("" if there else f"{CONFIG} is missing")
    if not reason:
        yield RunAdapter(run.adapter_path, run.next_step)
        return
    require_fit(run)
    with tempfile.TemporaryDirectory(prefix="pmd-adapter-") as scratch:
        for checkpoint in committed(run.checkpoints_path, run.next_step):
            if damaged := damage(checkpoint):
                say(f"{checkpoint} is damaged ({damaged}) and passed over")
            elif (checkpoint / STATE).is_file():
                break
        else:
            raise _none(run, reason if there else "", otherwise)
        why = f"{run.adapter_path} is damaged ({reason})" if there or run.finished else f"{run.path} has not ended"
        say(f"{why}: the adapter is that of {checkpoint.name}")
        write_adapter(checkpoint, Path(scratch), run)
        yield RunAdapter(Path(scratch), number_of(checkpoint))


def require_fit(run: RunDir) -> None:
    """Raises PolicyError where the run's adapter can be read and is of another model: that is no damage, but somebody's work."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(run.adapter_path / WEIGHTS), framework="pt") as file:
            file.keys()
        json.loads((run.adapter_path / CONFIG).read_bytes())
    except (OSError, ValueError, SafetensorError):
        return
    section = run.recipe.policy
    assert not isinstance(section, ScriptedPolicySection), "a scripted policy has no adapter"
    check_adapter(section.model, run.adapter_path)


def _none(run: RunDir, damaged: str, otherwise: str) -> RunError:
    if damaged:
        return RunError(
            f"{run.adapter_path} is damaged: {damaged}, and no checkpoint is whole from which it could be made again.",
            f"Restore it from a copy, or {otherwise}.",
        )
    hint = f"Finish it with `pmd run {run.path / 'recipe.yaml'} --resume`, or {otherwise}."
    return RunError(f"{run.path} has no adapter yet.", hint)


def write_adapter(checkpoint: Path, folder: Path, run: RunDir) -> None:
    """The student of a checkpoint, as the run would have ended with it there. Raises RunError where it cannot be read."""
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file

    section, lora = run.recipe.policy, run.recipe.distill.lora
    assert not isinstance(section, ScriptedPolicySection), "it learns nothing"
    try:
        state: dict[str, Any] = torch.load(checkpoint / STATE, weights_only=True, map_location="cpu", mmap=True)
        student = {name.replace(".*.", "."): tensor.contiguous() for name, tensor in state["student"].items()}
    except (OSError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        raise RunError(f"{checkpoint} is damaged: {error}.", "Restore it from a copy.") from None
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=sorted({name.partition(".lora_")[0].removeprefix("base_model.model.") for name in student}),
        task_type="CAUSAL_LM",
        inference_mode=True,
        base_model_name_or_path=resolve_model(section.model),
    )
    with told(folder):
        save_file(student, folder / WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(str(folder))
