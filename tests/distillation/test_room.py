"""How steps are cut by memory; the GPU's figures are given, since there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pmd_agent.distillation import chunks, room
from pmd_agent.distillation.losses import Tokens
from pmd_agent.distillation.room import Cut, cut, free_bytes, positions, token_bytes

GIB = 2**30
QWEN_8B = {
    "num_hidden_layers": 36, "hidden_size": 4096, "intermediate_size": 12_288, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip
QWEN_1B = QWEN_8B | {
    "num_hidden_layers": 28, "hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12,
    "num_key_value_heads": 2,
}  # fmt: skip


def base(shape: dict[str, int], **changes: Any) -> Any:
    config = SimpleNamespace(**(shape | changes))
    return SimpleNamespace(
        config=SimpleNamespace(get_text_config=lambda: config),
        dtype=torch.bfloat16,
        supports_gradient_checkpointing=True,
    )


def test_on_a_cpu_sizes_are_fixed_and_nothing_is_computed_again() -> None:
    assert free_bytes(torch.device("cpu")) is None
    assert cut(base(QWEN_8B), None, tokens=None, checkpointing=None) == Cut(16_384, False)
    assert cut(base(QWEN_8B), None, tokens=512, checkpointing=True) == Cut(512, True)


def test_activations_are_computed_again_only_where_they_do_not_fit() -> None:
    """26 and 60 GiB are what one GPU of 80 GB leaves to Qwen3-8B, beside a server that stays and one that sleeps."""
    assert cut(base(QWEN_8B), 26 * GIB, tokens=None, checkpointing=None).checkpointing
    small = cut(base(QWEN_1B), 70 * GIB, tokens=None, checkpointing=None)
    assert not small.checkpointing and small.tokens >= room.ENOUGH
    assert cut(base(QWEN_1B), 70 * GIB, tokens=100_000, checkpointing=None).checkpointing, "so many do not fit"
    assert not cut(base(QWEN_8B), 26 * GIB, tokens=None, checkpointing=False).checkpointing, "as it was asked for"


@pytest.mark.parametrize("shape", [QWEN_1B, QWEN_8B])
@pytest.mark.parametrize("gib", [8, 26, 60, 120])
def test_a_micro_batch_fits_and_is_a_power_of_two(shape: dict[str, int], gib: int) -> None:
    found = cut(base(shape), gib * GIB, tokens=None, checkpointing=None)
    kept, again = token_bytes(base(shape))
    assert found.tokens & (found.tokens - 1) == 0 and room.FEWEST <= found.tokens <= room.MOST
    assert found.tokens == room.FEWEST or found.tokens * (again if found.checkpointing else kept) <= 0.6 * gib * GIB
    assert found.tokens == cut(base(shape), gib * GIB + 1000, tokens=None, checkpointing=None).tokens
    assert again < kept


def test_a_token_of_qwen3_8b_takes_some_mib() -> None:
    kept, again = token_bytes(base(QWEN_8B))
    assert 5 < kept / 2**20 < 9, "docs/vllm.md says about 5"
    assert 0.5 < again / 2**20 < 1.5
    experts = base(QWEN_8B, num_experts_per_tok=8, moe_intermediate_size=2048)
    assert token_bytes(experts)[0] > kept


def test_thousands_of_positions_have_logits_on_a_large_gpu() -> None:
    assert positions(60 * GIB, 151_936, most=1024, logits=1 << 25) > 4000
    assert positions(0, 151_936, most=1024, logits=1 << 25) == 64
    assert positions(None, 151_936, most=1024, logits=1 << 25) == 220, "on a CPU"


def test_pieces_on_a_gpu_are_of_like_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No last piece of a few positions, which would cost as many launches."""
    monkeypatch.setattr(chunks, "free_bytes", lambda _: GIB)
    most = positions(GIB, 30_000, most=0, logits=0)
    columns = Tokens(*(torch.zeros(most + 5, device="meta") for _ in range(4)))
    sizes = [len(part.target_N) for _, part in chunks.chunks(columns, 30_000)]
    assert sum(sizes) == most + 5 and len(sizes) == 2 and abs(sizes[0] - sizes[1]) <= 1
