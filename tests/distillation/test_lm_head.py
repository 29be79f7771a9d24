"""Logits as the model's own forward pass makes them, for families that scale or cap them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pmd_agent.distillation.lm_head import body_of, lm_head_of
from pmd_agent.errors import PolicyError

SMALL: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 16, "initializer_range": 0.5, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
IDS = torch.tensor([[3, 4, 5, 6]])


def qwen() -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**SMALL, head_dim=8))


def gemma() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    return Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=2.0))


def granite() -> Any:
    from transformers import GraniteConfig, GraniteForCausalLM

    return GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=8.0))


def cohere() -> Any:
    from transformers import CohereConfig, CohereForCausalLM

    return CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.0625))


def hyperclova() -> Any:
    from transformers import HyperCLOVAXConfig, HyperCLOVAXForCausalLM

    return HyperCLOVAXForCausalLM(HyperCLOVAXConfig(**SMALL, logits_scaling=8.0))


@pytest.mark.parametrize("make", [qwen, gemma, granite, cohere])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_the_model_s_own(make: Callable[[], Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = make().to(dtype).eval()
    with torch.no_grad():
        hidden = body_of(model)(input_ids=IDS).last_hidden_state
        expected = model(input_ids=IDS).logits
        found = lm_head_of(model)(hidden)
        assert found.dtype == torch.float32, "no rounding of logits"
        torch.testing.assert_close(found.to(dtype), expected)
        plain = model.get_output_embeddings()(hidden)
    if make is not qwen:
        assert not torch.allclose(plain, expected, rtol=0.1), "a test that could not fail"


def test_a_model_that_does_something_else_is_refused() -> None:
    """HyperCLOVA X multiplies by what Granite divides by under the same name."""
    torch.manual_seed(0)
    with pytest.raises(PolicyError, match="HyperCLOVAXForCausalLM") as error:
        lm_head_of(hyperclova())
    assert "lm_head.py" in error.value.hint


def test_the_model_is_left_in_its_mode() -> None:
    model = qwen().train()
    lm_head_of(model)
    assert model.training
