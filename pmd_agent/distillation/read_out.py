"""The head's product in float32 where the weights are in half precision.

Logits of about 20 are 1/8 apart in bfloat16, and the divergence of two distributions that are nearly one is then mostly
rounding. Tensor cores add up in float32 anyway: what is saved is the rounding of the result, not the speed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

ROWS = 8192
"""Of the head that are cast to float32 at a time, where no product of half precision has a float32 result."""


def read_out(hidden: Tensor, weight: Tensor) -> Tensor:
    """(..., D) hidden states and (V, D) weights, both of one half precision -> (..., V) float32. The weights are frozen."""
    product: Callable[[Tensor, Tensor], Tensor] = _ReadOut.apply
    found = product(hidden.reshape(-1, hidden.shape[-1]).to(weight.dtype), weight)
    return found.view(*hidden.shape[:-1], -1)


class _ReadOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor) -> Tensor:
        ctx.save_for_backward(weight_VD)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            if widens(hidden_ND.device.type, hidden_ND.dtype):
                return torch.mm(hidden_ND, weight_VD.t(), out_dtype=torch.float32)
            exact_ND = hidden_ND.float()
            return torch.cat([exact_ND @ rows.float().t() for rows in weight_VD.split(ROWS)], -1)

    @staticmethod
    def backward(ctx: Any, gradient_NV: Tensor) -> tuple[Tensor, None]:
        (weight_VD,) = ctx.saved_tensors
        return gradient_NV.to(weight_VD.dtype) @ weight_VD, None


@cache
def widens(device: str, dtype: torch.dtype) -> bool:
    """Whether this torch multiplies half precision into float32 there: tried once."""
    if device != "cuda":
        return False
    one = torch.ones(16, 16, device=device, dtype=dtype)
    try:
        return bool((torch.mm(one, one, out_dtype=torch.float32) == 16).all())
    except (RuntimeError, TypeError):
        return False
