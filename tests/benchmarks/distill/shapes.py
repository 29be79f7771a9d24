"""Models of a published shape with random weights, where they need not be downloaded to be measured."""

from __future__ import annotations

from typing import Any

import torch

from pmd_agent.distillation.bench import Work, with_adapters
from pmd_agent.models.loading import choose_device, choose_dtype, load_base

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-8b": {
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
    },
    "qwen3-0.6b": {
        "vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Published configurations, for random weights: speed and memory do not depend on their values."""


def base_of(work: Work) -> Any:
    """Raises PolicyError."""
    return random_base(work) if work.model in SHAPES else load_base(work.model, dtype=work.dtype, device=work.device)


def model_of(work: Work) -> Any:
    """With a fresh adapter and its EMA teacher. Raises PolicyError."""
    return with_adapters(base_of(work), work)


def random_base(work: Work) -> Any:
    from transformers import AutoModelForCausalLM, Qwen3Config

    device = choose_device(work.device)
    config = Qwen3Config(**SHAPES[work.model], max_position_embeddings=40_960)
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(
            config, dtype=choose_dtype(work.dtype, device), attn_implementation="sdpa"
        )
    return model.eval().requires_grad_(False)
