"""Adapters and norms in few operators.

PEFT makes a linear layer's output three times: the base's, the adapter's scaled, and their sum, each of them read and written
again. Here the adapter's product is added where the base's stands. transformers writes an RMS norm as eight operators with
some twenty in the backward pass; here it is torch's own kernel on a GPU, and the derivative by hand elsewhere. Same
mathematics, other rounding; whatever is not of the plain kind is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm


def install(model: Any) -> None:
    """Let the plain layers and norms of this PEFT model take the shorter way."""
    from peft.tuners.lora.layer import Linear

    for module in model.modules():
        if type(module) is Linear and type(module.base_layer) is torch.nn.Linear:
            module.forward = partial(_linear, module)  # type: ignore[method-assign]
        elif _is_rms_norm(module):
            module.forward = partial(_norm, module)


# ---- linear layers with an adapter


def _linear(module: Any, x: Tensor, *args: Any, **options: Any) -> Tensor:
    (name,) = module.active_adapters if len(module.active_adapters) == 1 else (None,)
    weight = module.base_layer.weight
    plain = (
        not (args or options or module.disable_adapters or module.merged or module.lora_variant.get(name))
        and name in module.lora_A
        and isinstance(module.lora_dropout[name], torch.nn.Identity)
        and module.lora_B[name].bias is None
        and not (weight.requires_grad or (module.base_layer.bias is not None and module.base_layer.bias.requires_grad))
        # Outside of training PEFT multiplies a half-precision base's adapter in float32.
        and (weight.dtype == torch.float32 or not module.cast_input_dtype_enabled)
    )
    if not plain:
        found: Tensor = type(module).forward(module, x, *args, **options)
        return found
    adapter = module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]
    product: Callable[..., Tensor] = _WithAdapter.apply
    return product(x, weight, module.base_layer.bias, *adapter)


class _WithAdapter(torch.autograd.Function):
    """x W' + bias + scaling x A' B', in the precision of W, which is frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        kind = weight.dtype
        with torch.autocast(x.device.type, enabled=False):
            flat = x.reshape(-1, x.shape[-1]).to(kind)
            inner = flat.mm(a.to(kind).t())
            out = flat.mm(weight.t()) if bias is None else torch.addmm(bias, flat, weight.t())
            out.addmm_(inner, b.to(kind).t(), alpha=scaling)
        ctx.save_for_backward(flat, inner)
        # Parameters are no activations: they need not pass through what checkpointing keeps.
        ctx.frozen, ctx.adapter, ctx.scaling, ctx.kind = weight, (a, b), scaling, x.dtype
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flat, inner = ctx.saved_tensors
        a, b = (p.to(flat.dtype) for p in ctx.adapter)
        out = gradient.reshape(-1, gradient.shape[-1])
        # beta=0: the first argument lends its shape alone.
        back = torch.addmm(inner, out, b, beta=0, alpha=ctx.scaling)
        x = None
        if ctx.needs_input_grad[0]:
            x = out.mm(ctx.frozen).addmm_(back, a).view(*gradient.shape[:-1], -1).to(ctx.kind)
        grad_a, grad_b = None, None
        if ctx.needs_input_grad[3]:
            grad_a = back.t().mm(flat).to(ctx.adapter[0].dtype)
            grad_b = torch.addmm(b, out.t(), inner, beta=0, alpha=ctx.scaling).to(ctx.adapter[1].dtype)
        return x, None, None, grad_a, grad_b, None


# ---- norms


def _is_rms_norm(module: torch.nn.Module) -> bool:
    """By its name and parts, and by what it does to random numbers: some multiply by 1 + weight, or divide otherwise."""
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not type(module).__name__.endswith("RMSNorm") or epsilon is None or weight is None or weight.dim() != 1:
        return False
    if weight.requires_grad or weight.device.type == "meta" or [n for n, _ in module.named_parameters()] != ["weight"]:
        return False
    x = torch.randn(4, len(weight), generator=torch.Generator().manual_seed(0)).to(weight.device, weight.dtype)
    with torch.no_grad():
        expected, found = module(x), rms_norm(x, weight.shape, weight, epsilon)
    close = 2 * torch.finfo(weight.dtype).eps
    return expected.dtype == found.dtype and torch.allclose(found, expected, rtol=2 * close, atol=close)


def _norm(module: Any, x: Tensor) -> Tensor:
    if torch_has_kernel(x):
        with torch.autocast(x.device.type, enabled=False):
            return rms_norm(x, module.weight.shape, module.weight.to(x.dtype), module.variance_epsilon)
    normed: Callable[..., Tensor] = _RmsNorm.apply
    return normed(x, module.weight, module.variance_epsilon)


def torch_has_kernel(x: Tensor) -> bool:
    """Of an RMS norm; elsewhere torch's function is as many operators as any."""
    return x.is_cuda


class _RmsNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + epsilon), in float32 but for the last product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        exact = x.float()
        scale = exact.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, scale)
        ctx.weight = weight
        return weight * (exact * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, scale = ctx.saved_tensors
        towards, unit = (gradient * ctx.weight).float(), x.float() * scale
        along = (towards * unit).mean(-1, keepdim=True)
        return towards.addcmul_(unit, along, value=-1).mul_(scale).to(x.dtype), None, None
