"""Kernels that torch has on CUDA alone, made of plain mathematics on the CPU: variable-length attention, and an RMS norm in one.

Everything around them, what is gathered, the lengths, windows and scales that they are given, and how gradients go back, is the
code that a GPU runs; what dispatches operators sees one call, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from pmd_agent.distillation import forest_attention, lean_layers


@dataclass
class Calls:
    """Of the forward kernel, since `use`."""

    count: int = 0


_calls = Calls()


def use(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """From here on attention over a forest, and norms, take the way that a GPU takes."""
    from torch.nn.attention import varlen

    _calls.count = 0
    # Kernels are registered for good; nothing but these tests calls them on a CPU.
    varlen._varlen_attn.register_kernel("cpu")(_forward)
    varlen._varlen_attn_backward.register_kernel("cpu")(_backward)
    monkeypatch.setattr(forest_attention, "one_call_suits", lambda *_: True)
    monkeypatch.setattr(lean_layers, "torch_has_kernel", lambda _: True)
    monkeypatch.setattr(lean_layers, "rms_norm", lambda x, shape, weight, epsilon: _rms_norm(x, weight, epsilon))
    return _calls


def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    is_causal: bool = False,
    scale: float | None = None,
    window_size: list[int] | None = None,
    *_: Any,
    **__: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert max_q == int(cu_seq_q.diff().max()) and max_k == int(cu_seq_k.diff().max())
    _calls.count += 1
    outs = []
    for rows, columns in _spans(cu_seq_q, cu_seq_k):
        _, _, v, p, _ = _scored(query[rows], key[columns], value[columns], scale, window_size)
        outs.append((p @ v).transpose(0, 1))
    out = torch.cat(outs).to(query.dtype)
    return out, query.new_zeros(query.shape[1], query.shape[0]), torch.zeros(2, dtype=torch.uint64)


def _backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    is_causal: bool,
    rng_state: Tensor,
    scale: float | None = None,
    window_size: list[int] | None = None,
) -> tuple[Tensor, ...]:
    found: list[list[Tensor]] = [[], [], []]
    for rows, columns in _spans(cu_seq_q, cu_seq_k):
        q, k, v, p, factor = _scored(query[rows], key[columns], value[columns], scale, window_size)
        go = grad_out[rows].transpose(0, 1).float()
        dp = go @ v.transpose(1, 2)
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * factor
        heads = key.shape[1], -1, *k.shape[1:]
        grads = ds @ k, (ds.transpose(1, 2) @ q).view(heads).sum(1), (p.transpose(1, 2) @ go).view(heads).sum(1)
        for parts, grad in zip(found, grads, strict=True):
            parts.append(grad.transpose(0, 1))
    return tuple(torch.cat(parts).to(query.dtype) for parts in found)


def _spans(ends_q: Tensor, ends_k: Tensor) -> Iterator[tuple[slice, slice]]:
    for (a, b), (c, d) in zip(pairwise(ends_q.tolist()), pairwise(ends_k.tolist()), strict=True):
        yield slice(a, b), slice(c, d)


def _scored(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, window_size: list[int] | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """(H, T, d) each of the three, the weights, and the scale. The last query stands at the last key."""
    left, right = window_size or (-1, -1)
    groups = query.shape[1] // key.shape[1]
    q, k, v = (t.transpose(0, 1).float() for t in (query, key, value))
    k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
    ahead = torch.arange(k.shape[1]) - torch.arange(q.shape[1])[:, None] - (k.shape[1] - q.shape[1])
    unseen = torch.zeros_like(ahead, dtype=torch.bool)
    if right >= 0:
        unseen |= ahead > right
    if left >= 0:
        unseen |= ahead < -left
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return q, k, v, (q @ k.transpose(1, 2) * factor).masked_fill(unseen, -torch.inf).softmax(-1), factor


@torch.library.custom_op("pmd_tests::rms_norm", mutates_args={})
def _rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return torch.nn.functional.rms_norm(x, weight.shape, weight, epsilon)


@torch.library.custom_op("pmd_tests::rms_norm_backward", mutates_args={})
def _rms_norm_backward(towards: Tensor, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    scale = (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()
    unit, weighted = x * scale, towards * weight
    return (weighted - unit * (weighted * unit).mean(-1, keepdim=True)) * scale


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.rest = inputs[1:]


def _back(ctx: Any, towards: Tensor) -> tuple[Tensor, None, None]:
    return _rms_norm_backward(towards, *ctx.saved_tensors, *ctx.rest), None, None


_rms_norm.register_autograd(_back, setup_context=_keep)
