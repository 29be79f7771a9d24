"""Attention over a forest (forest.py): each segment attends to what stands before it and, causally, to itself.

Two ways to the same numbers. On a GPU, where flash attention takes the numbers' kind: one call a layer for all segments, their
keys and values gathered before. Elsewhere: one call of torch's scaled_dot_product_attention a segment, with just as many scores
as needed. Neither makes a mask of the whole row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pmd_agent.distillation.forest_plan import Plan, gathered

WIDEST = 256
"""Numbers a head that flash attention takes; a multiple of 8."""
EARLIEST = 8
"""Compute capability from which on it runs."""


def forest_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    forest_plan: Plan | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """(1, H, S, d) query, key and value (the latter two may have fewer heads) -> (1, S, H, d)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if forest_plan is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return out, None
    attend = in_one_call if forest_plan.one_call and one_call_suits(query, key, value) else by_segments
    return attend(query, key, value, forest_plan, scaling, others.get("sliding_window")), None


# ---- one call


def one_call_suits(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether torch has the kernel, and it takes these."""
    width = query.shape[-1]
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.dtype == key.dtype == value.dtype
        and width == key.shape[-1] == value.shape[-1]
        and width % 8 == 0
        and width <= WIDEST
        and torch.cuda.get_device_capability(query.device)[0] >= EARLIEST
        and _kernel() is not None
    )


def in_one_call(
    query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None, window: int | None
) -> Tensor:
    """As `forest_attention`. The window counts the token itself, the kernel's does not."""
    kernel = _kernel()
    assert kernel is not None
    q, k, v = (t.squeeze(0).transpose(0, 1) for t in (query, key, value))
    left = -1 if window is None or window >= plan.longest[1] else window - 1
    k, v = gathered(k, plan.paths), gathered(v, plan.paths)
    out: Tensor = kernel(q, k, v, *plan.ends, *plan.longest, scale=scaling, window_size=(left, 0))
    return out.unsqueeze(0)


@cache
def _kernel() -> Callable[..., Any] | None:
    """torch's variable-length attention, heads in groups; None where this torch has none with windows."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    if "window_size" not in known:
        return None
    # Where groups are not asked for by name, the kernel sees them from the shapes.
    return partial(varlen_attn, enable_gqa=True) if "enable_gqa" in known else varlen_attn


# ---- one call a segment


def by_segments(
    query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None, window: int | None
) -> Tensor:
    """As `forest_attention`."""
    from transformers.integrations.sdpa_attention import repeat_kv

    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    outs = []
    for segment in plan.segments:
        spans = [*segment.before, segment.own]
        q, k, v = query[:, :, slice(*segment.own)], _pieces(key, spans), _pieces(value, spans)
        outs.append(scaled_dot_product_attention(q, k, v, scale=scaling, **_causal(q, k, window, plan.masks)))
    return torch.cat(outs, 2).transpose(1, 2).contiguous()


def _pieces(tensor: Tensor, spans: list[tuple[int, int]]) -> Tensor:
    """The columns of all spans; without a copy where they touch."""
    if all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False)):
        return tensor[:, :, spans[0][0] : spans[-1][1]]
    return torch.cat([tensor[:, :, slice(*span)] for span in spans], 2)


def _causal(q: Tensor, k: Tensor, window: int | None, masks: dict[tuple[Any, ...], Tensor]) -> dict[str, Any]:
    """What tells scaled_dot_product_attention that the queries are the last of the keys."""
    new, known = q.shape[2], k.shape[2]
    windowed = window is not None and known > window
    if new == known and not windowed:
        return {"is_causal": True}
    if q.is_cuda and q.dtype != torch.float32 and not windowed:
        from torch.nn.attention.bias import causal_lower_right

        return {"attn_mask": causal_lower_right(new, known)}  # the flash kernel, without a mask
    key = (new, known, window if windowed else None, q.dtype, q.device)
    if key not in masks:
        ahead = torch.arange(known, device=q.device) - torch.arange(known - new, known, device=q.device)[:, None]
        hidden = (ahead > 0) if window is None or not windowed else (ahead > 0) | (ahead <= -window)
        masks[key] = torch.zeros(new, known, dtype=q.dtype, device=q.device).masked_fill_(hidden, -torch.inf)
    return {"attn_mask": masks[key]}
