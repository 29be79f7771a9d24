"""The weights just trained become those that make the next attempts: sync."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.stages.parts import Metrics, Parts, stage

if TYPE_CHECKING:
    from pmd_agent.distillation.trainer import Trainer


@stage
def sync(parts: Parts, m: Metrics, folder: Path) -> None:
    """The weights just trained become the policy's. A policy elsewhere gets every version under a name of its own."""
    if parts.trainer is None:
        return
    version = m.step + 1
    if parts.policy.shares_weights:
        parts.policy.load(None, version)
    else:
        adapter = publish_adapter(parts.trainer, folder, version)
        parts.policy.load(adapter, version)
        for old in folder.glob("v*"):
            if old != adapter:
                shutil.rmtree(old)


def publish_adapter(trainer: Trainer, folder: Path, version: int) -> Path:
    """The student's adapter in a folder of its own, whole or not there."""
    adapter = folder / f"v{version:06d}"
    temporary = adapter.with_suffix(".tmp")
    for leftover in (temporary, adapter):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    trainer.save_adapter(temporary)
    return temporary.rename(adapter)
