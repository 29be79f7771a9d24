"""Models of a published shape with random weights, where they need not be downloaded to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pmd_agent.models import BOX
from pmd_agent.models.loading import choose_device, choose_dtype, load_tokenizer

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-8b": {
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
    },
    "qwen3-1.7b": {
        "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
    "qwen3-0.6b": {
        "vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Published configurations: speed and memory do not depend on the values of weights."""


def random_model(shape: str, *, device: str = "auto", dtype: str = "auto", **more: Any) -> Any:
    """In memory, ready to be trained with adapters; `more` goes into its configuration."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    place = choose_device(device)
    config = Qwen3Config(**SHAPES[shape], max_position_embeddings=40_960, **more)
    torch.manual_seed(0)
    with place:
        model = AutoModelForCausalLM.from_config(config, dtype=choose_dtype(dtype, place), attn_implementation="sdpa")
    return model.eval().requires_grad_(False)


def write_random_model(shape: str, folder: Path, *, device: str = "auto", dtype: str = "auto") -> None:
    """The same as a folder with the tokenizer and the chat template of the policy in the box: what it writes is noise."""
    tokenizer = load_tokenizer(BOX)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = random_model(shape, device=device, dtype=dtype, **ends)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
