"""Attention over a forest (forest.py), as an attention implementation of transformers.

Each segment attends to what stands before it and, causally, to itself: one call of torch's scaled_dot_product_attention a
segment and layer, with just as many scores as needed. No mask of the whole row exists, no cache is kept, and gradient
checkpointing works. Without a forest the function is transformers' own `sdpa`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pmd_agent.distillation.forest import Forest, Segment, plant
from pmd_agent.distillation.lm_head import body_of

NAME = "pmd_forest"
KNOWN_LAYERS = {"full_attention", "sliding_attention"}
TRIAL = 6, 3
"""Tokens of the beginning and of each of the two ends that a model is tried with."""


class Segments(tuple[Segment, ...]):
    """A forest's segments, as one argument that passes through a model untouched, and their masks, which all layers share."""

    masks: dict[tuple[Any, ...], Tensor]

    @classmethod
    def of(cls, forest: Forest) -> Segments:
        found = cls(forest.segments)
        found.masks = {}
        return found


def install(base: Any) -> str:
    """Let the model read forests. Returns why it cannot, or "" where it can; then nothing else about it has changed.

    The model must use transformers' attention interface with `sdpa`; whether it hands the segments on to it is tried, on
    three short sequences whose hidden states have to be those of the sequences alone.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    config = base.config.get_text_config()
    implementation = config._attn_implementation
    if implementation not in ("sdpa", NAME):
        return f"its attention is {implementation}, and only sdpa is known to share"
    if other := set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYERS:
        return f"it has layers of the kind {', '.join(sorted(other))}"
    attention_dropout: float | None = getattr(config, "attention_dropout", None)
    if attention_dropout or any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in base.modules()):
        return "dropout is on, and each rollout is to have its own"
    AttentionInterface.register(NAME, forest_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    base.set_attn_implementation(NAME)
    if config._attn_implementation == NAME and _agrees(base):
        return ""
    base.set_attn_implementation("sdpa")
    return f"{type(base).__name__} does not hand what a segment follows on to its attention"


def read(body: Any, forest: Forest, device: torch.device) -> Tensor:
    """(S, D) last hidden states of the forest's S tokens."""
    ids, positions = (torch.tensor([column], device=device) for column in (forest.ids, forest.positions))
    # A mask with four dimensions is taken as it is, so that none is made; forest_attention needs none.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    hidden: Tensor = body(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask,
        use_cache=False,
        forest_segments=Segments.of(forest),
    ).last_hidden_state
    return hidden[0]


def forest_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    forest_segments: Segments | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """(1, H, S, d) query, key and value (the latter two may have fewer heads) -> (1, S, H, d)."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    if forest_segments is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return out, None
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    window = others.get("sliding_window")
    outs = []
    for segment in forest_segments:
        spans = [*segment.before, segment.own]
        q, k, v = query[:, :, slice(*segment.own)], _gathered(key, spans), _gathered(value, spans)
        outs.append(
            scaled_dot_product_attention(q, k, v, scale=scaling, **_causal(q, k, window, forest_segments.masks))
        )
    return torch.cat(outs, 2).transpose(1, 2).contiguous(), None


def _gathered(tensor: Tensor, spans: list[tuple[int, int]]) -> Tensor:
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


@torch.no_grad()
def _agrees(base: Any) -> bool:
    """Whether three sequences in a forest give what each gives alone."""
    body, device = body_of(base), base.get_input_embeddings().weight.device
    start, end = (tuple(range(1, n + 1)) for n in TRIAL)
    sequences = [start + end, start + end[::-1], end]
    forest = plant(sequences, shortest=2)
    was_training = base.training
    base.eval()
    try:
        found = read(body, forest, device).float()
        alone = [
            body(input_ids=torch.tensor([ids], device=device), use_cache=False).last_hidden_state[0].float()
            for ids in sequences
        ]
    except TypeError:  # an argument that it does not know
        return False
    finally:
        base.train(was_training)
    # Half precision rounds; a token that reads what it should not is far outside of that.
    return all(
        torch.allclose(found[columns], expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))
        for columns, expected in zip(forest.columns, alone, strict=True)
    )
