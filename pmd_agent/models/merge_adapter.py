"""An adapter's update put into the weights, and the proof that they then say what base and adapter say together."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pmd_agent.models.adapters import load_adapter
from pmd_agent.models.loading import load_base, load_tokenizer
from pmd_agent.models.templates import ChatTemplate

PROMPTS = (
    "Compute 17 + 25, step by step.",
    "Write a Python function that turns a list round.",
    "Name three things that melt, and say at what temperature.",
)
ALLOWED: Mapping[str, float] = {"float32": 1e-4, "bfloat16": 0.05}
"""Root mean square of what differs, over the logits' standard deviation. Rounding to the type alone, measured on the policy
in the box with an adapter of one step: 8e-7 and 0.014."""


def merge_into(folder: Path, model: str, adapter: Path, *, dtype: str) -> dict[str, Any]:
    """Write the merged model and its tokenizer to `folder`, read them again, and say how far their logits are from what they
    should be. Raises ValueError where merged weights are not finite, PolicyError.

    One model is in memory at a time. Where head and embeddings are one matrix and the adapter changes either, they become two.
    """
    tokenizer = load_tokenizer(model)
    template = ChatTemplate(tokenizer, model)
    rows = [
        tokenizer(template.render([{"role": "user", "content": text}]), add_special_tokens=False).input_ids
        for text in PROMPTS
    ]
    adapted = load_adapter(load_base(model, dtype=dtype, device="cpu"), adapter)
    wanted = _logits(adapted, rows)
    with adapted.disable_adapter():
        effect = _apart(wanted, _logits(adapted, rows))
    _untie(adapted)
    merged = adapted.merge_and_unload(safe_merge=True)
    merged.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    del adapted, merged
    gc.collect()
    difference = _apart(wanted, _logits(load_base(str(folder), dtype=dtype, device="cpu"), rows))
    allowed = ALLOWED[dtype] * torch.cat([row.flatten() for row in wanted]).std().item()
    return {
        "same": difference <= allowed,
        "prompts": len(rows),
        "difference": difference,
        "allowed": allowed,
        "effect": effect,
        "dtype": dtype,
    }


@torch.inference_mode()
def _logits(model: Any, rows: list[list[int]]) -> list[Tensor]:
    return [model(input_ids=torch.tensor([row])).logits[0].float() for row in rows]


def _apart(these: list[Tensor], those: list[Tensor]) -> float:
    """The root mean square of the differences of all logits; infinite where one of them is no number."""
    found = torch.cat([(a - b).flatten() for a, b in zip(these, those, strict=True)]).square().mean().sqrt().item()
    return found if math.isfinite(found) else math.inf


def _untie(adapted: Any) -> None:
    """Make head and embeddings two matrices where they are one and the adapter changes either: one matrix cannot be both."""
    model = adapted.get_base_model()
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    if not any(hasattr(end, "base_layer") for end in ends) or None in ends:
        return
    first, last = (getattr(end, "base_layer", end) for end in ends)
    if first.weight is not last.weight:
        return
    last.weight = torch.nn.Parameter(last.weight.detach().clone(), requires_grad=False)
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
