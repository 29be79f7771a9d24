"""From hidden states to logits, as the model's own forward pass makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation.read_out import read_out
from pmd_agent.errors import PolicyError


def body_of(base: Any) -> Any:
    """The causal language model without its head."""
    return getattr(base, base.base_model_prefix)


def lm_head_of(base: Any) -> Callable[[Tensor], Tensor]:
    """(..., D) -> (..., V): the head, then what the configuration does to its logits. In float32 where the head is half precision.

    `logit_scale` (Cohere) and `lm_head_multiplier` (Falcon-H1) multiply, `logits_scaling` (Granite) divides,
    `final_logit_softcapping` c (Gemma) gives c tanh(logits / c). The result is compared with the model's own once, on two
    tokens. Raises PolicyError where they differ: the loss would be of another model.
    """
    config = base.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or getattr(config, "lm_head_multiplier", None) or 1.0
    scale /= getattr(config, "logits_scaling", None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None)
    head = base.get_output_embeddings()
    # An adapter on the head is another module.
    exact = (
        type(head) is torch.nn.Linear
        and getattr(head, "bias", None) is None
        and head.weight.dtype in (torch.bfloat16, torch.float16)
    )

    def logits_of(hidden: Tensor) -> Tensor:
        logits: Tensor = read_out(hidden, head.weight) if exact else head(hidden)
        if scale != 1.0:
            logits = logits * scale
        return logits if cap is None else torch.tanh(logits / cap) * cap

    _compare(base, logits_of)
    return logits_of


@torch.no_grad()
def _compare(base: Any, logits_of: Callable[[Tensor], Tensor]) -> None:
    was_training = base.training
    base.eval()
    ids = torch.tensor([[1, 2]], device=base.get_input_embeddings().weight.device)
    expected = base(input_ids=ids, use_cache=False).logits.float()
    found = logits_of(body_of(base)(input_ids=ids, use_cache=False).last_hidden_state).float()
    base.train(was_training)
    # Half precision rounds; a scale or a cap that was overlooked is far outside of that.
    if not torch.allclose(found, expected, rtol=0.02, atol=0.02 * float(expected.abs().max())):
        raise PolicyError(
            f"The logits of {type(base).__name__} are not what its head makes of its hidden states: it cannot be trained here.",
            "Choose another model, or add what it does to its logits to pmd_agent/distillation/lm_head.py.",
        )
