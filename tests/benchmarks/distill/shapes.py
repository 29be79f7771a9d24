"""The model that a benchmark names: one of the user's, or random weights of a published shape."""

from __future__ import annotations

from typing import Any

from pmd_agent.distillation.bench import Work, with_adapters
from pmd_agent.models.loading import load_base
from pmd_agent.models.random_weights import SHAPES, random_model

__all__ = ["SHAPES", "base_of", "model_of"]


def base_of(work: Work) -> Any:
    """Raises PolicyError."""
    if work.model in SHAPES:
        return random_model(work.model, device=work.device, dtype=work.dtype)
    return load_base(work.model, dtype=work.dtype, device=work.device)


def model_of(work: Work) -> Any:
    """With a fresh adapter and its EMA teacher. Raises PolicyError."""
    return with_adapters(base_of(work), work)
