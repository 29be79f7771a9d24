"""A model taught to read forests (forest.py), by an attention implementation of its own (forest_attention.py).

No cache is kept, and gradient checkpointing works. Without a forest the attention is transformers' own `sdpa`. Whether a model
passes the plan on to its attention is tried before anything is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation import forest_recurrence
from pmd_agent.distillation.forest import Forest, plant
from pmd_agent.distillation.forest_attention import forest_attention
from pmd_agent.distillation.forest_plan import Plan
from pmd_agent.distillation.lm_head import body_of

NAME = "pmd_forest"
KNOWN_LAYERS = {"full_attention", "sliding_attention"}
TRIAL = 6, 3
"""Tokens of the beginning and of each of the two ends that a model is tried with."""
PADDED = 64
"""Tokens to which the same are padded, to see what rounding does: other kernels take them."""
EXACT, ROUNDING = 0.02, 5
"""A difference, relative to the states' size, that is none; and how many times that which padding makes is still rounding."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Whether a model computes common beginnings once, and how."""

    refused: str = ""
    """Why it does not; "" where it does."""
    one_call: bool = True
    """Of attention a layer for all segments, on a GPU whose kernel takes it. Otherwise one a segment."""
    slow: str = ""
    """Why not in one call, where it was tried and failed."""
    partly: str = ""
    """What each rollout is computed whole in all the same; "" where there is nothing."""


def install(base: Any) -> Sharing:
    """Let the model read forests. Where it cannot, nothing else about it has changed.

    The model must use transformers' attention interface with `sdpa`; whether it hands the plan on to it is tried.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    config = base.config.get_text_config()
    if refused := cannot_share(config, base.modules()):
        return Sharing(refused)
    AttentionInterface.register(NAME, forest_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    base.set_attn_implementation(NAME)
    forest_recurrence.install(body_of(base))
    if config._attn_implementation == NAME:
        if not (in_one_call := _trial(base, one_call=True)):
            return Sharing(partly=shares_partly(config))
        if not (by_segments := _trial(base, one_call=False)):
            return Sharing(one_call=False, slow=in_one_call, partly=shares_partly(config))
    else:
        by_segments = f"{type(base).__name__} takes no attention of another kind"
    base.set_attn_implementation("sdpa")
    return Sharing(by_segments)


def cannot_share(config: Any, modules: Iterable[torch.nn.Module] = ()) -> str:
    """Why a model of this configuration cannot, as far as can be told before it is tried; "" where nothing speaks against it."""
    implementation = getattr(config, "_attn_implementation", None) or "sdpa"
    if implementation not in ("sdpa", NAME):
        return f"its attention is {implementation}, and only sdpa is known to share"
    kinds = list(getattr(config, "layer_types", None) or ())
    if other := set(kinds) - KNOWN_LAYERS - {forest_recurrence.KIND}:
        many = sum(k in other for k in kinds)
        return (
            f"{many} of its {len(kinds)} layers are of the kind {', '.join(sorted(other))}, which carries a state that "
            "cannot be handed from a prompt to its rollouts"
        )
    attention_dropout: float | None = getattr(config, "attention_dropout", None)
    if attention_dropout or any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in modules):
        return "dropout is on, and each rollout is to have its own"
    return ""


def shares_partly(config: Any) -> str:
    """What of a model of this configuration reads each rollout whole, where the rest shares; "" where nothing does."""
    kinds = list(getattr(config, "layer_types", None) or ())
    many = kinds.count(forest_recurrence.KIND)
    return f"the {many} of {len(kinds)} layers that are {forest_recurrence.KIND} carry a state" if many else ""


def read(body: Any, forest: Forest, device: torch.device, *, one_call: bool = True) -> Tensor:
    """(S, D) last hidden states of the forest's S tokens. `one_call`: of attention a layer, where its kernel suits."""
    ids, positions = (torch.tensor([column], device=device) for column in (forest.ids, forest.positions))
    # A mask with four dimensions is taken as it is, so that none is made; forest_attention needs none.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    hidden: Tensor = body(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask,
        use_cache=False,
        forest_plan=Plan(forest, device, one_call=one_call),
    ).last_hidden_state
    return hidden[0]


# ---- the trial


@torch.no_grad()
def _trial(base: Any, *, one_call: bool) -> str:
    """Whether three sequences in a forest give what each gives alone: "" or what is wrong.

    Rounding grows with depth, in half precision to some percent of the states, whatever is changed about a batch. So the
    difference is compared with that which padding alone makes, and with that of reading the forest's row as one text, which
    is what a model does that does not hand the plan on.
    """
    body, device = body_of(base), base.get_input_embeddings().weight.device
    start, end = (tuple(range(1, n + 1)) for n in TRIAL)
    sequences = [start + end, start + end[::-1], end]
    forest = plant(sequences, shortest=2)
    was_training = base.training
    base.eval()
    try:
        found = _in_turn(read(body, forest, device, one_call=one_call), forest)
        alone = torch.cat([_states(body, [ids], device)[0] for ids in sequences])
        rows = _states(body, [(*ids, *[0] * (PADDED - len(ids))) for ids in sequences], device)
        padded = torch.cat([row[: len(ids)] for row, ids in zip(rows, sequences, strict=True)])
        misread = _in_turn(_states(body, [tuple(forest.ids)], device)[0], forest)
    except (TypeError, RuntimeError) as error:  # an argument that it does not know, or a kernel that is not there
        return f"{type(base).__name__} cannot read several rollouts as one row: {str(error).splitlines()[0]}"
    finally:
        base.train(was_training)
    return _verdict(type(base).__name__, alone, found, padded, misread)


def _states(body: Any, rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    ids = torch.tensor([list(row) for row in rows], device=device)
    hidden: Tensor = body(input_ids=ids, use_cache=False).last_hidden_state
    return hidden


def _in_turn(states: Tensor, forest: Forest) -> Tensor:
    """Of each sequence after the other."""
    return torch.cat([states[columns] for columns in forest.columns])


def _verdict(name: str, alone: Tensor, found: Tensor, padded: Tensor, misread: Tensor) -> str:
    """From (T, D) states of the same tokens: "" or what is wrong."""
    off, rounding, wrong = (_distance(states, alone) for states in (found, padded, misread))
    if not off <= wrong / 2:  # also where there are NaNs
        return f"{name} does not hand what a segment follows on to its attention"
    if off <= max(ROUNDING * rounding, EXACT):
        return ""
    return f"{name} gives other states for rollouts in one row: {off:.1%} off, where padding makes {rounding:.1%}"


def _distance(states: Tensor, expected: Tensor) -> float:
    """Relative to the size of what is expected."""
    return float((states.float() - expected.float()).norm() / expected.float().norm())
