"""How much work fits into a GPU's memory at a time.

Estimates from a model's shape, on the safe side; on a CPU the sizes are fixed. They are taken once, at the first step, and
micro-batches are a power of two of tokens, so that a run that goes on cuts its steps as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pmd_agent.errors import PolicyError

TOKENS = 16_384
"""Of teacher and student in a forward pass on a CPU."""
FEWEST, MOST = 2048, 131_072
"""The same on a GPU, where nothing else is set."""
ENOUGH = 8192
"""So many tokens keep a GPU busy: where they fit, activations are kept, and more are not worth computing them again."""
FOR_ACTIVATIONS, FOR_LOGITS = 0.6, 0.5
"""Shares of what is free. The latter is taken of what activations left."""
LOGIT_BYTES = 40
"""At most, of each logit of a position: student and teacher in float32, copies without the top k, gradients, the entropy's."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a step is cut."""

    tokens: int
    """Of teacher and student in one forward pass."""
    checkpointing: bool
    """Activations are computed again in the backward pass."""


def require_checkpointing(base: Any, wanted: bool | None) -> None:
    """Raises PolicyError where it is wanted of a model that cannot."""
    if wanted and not base.supports_gradient_checkpointing:
        raise PolicyError(
            f"{type(base).__name__} cannot compute its activations again.", "Set distill.gradient_checkpointing=false."
        )


def checkpoint(base: Any) -> None:
    """From here on activations are computed again in the backward pass. Random numbers are kept where there is dropout."""
    drops = getattr(base.config.get_text_config(), "attention_dropout", None) or any(
        isinstance(m, torch.nn.Dropout) and m.p > 0 for m in base.modules()
    )
    base.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": bool(drops)})


def free_bytes(device: torch.device) -> int | None:
    """What a process could still take, its allocator's cache included; None where the device is no GPU."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def cut(base: Any, free: int | None, *, tokens: int | None, checkpointing: bool | None) -> Cut:
    """What is asked for (`tokens`, `checkpointing`), and for what is left open (None) what fits into `free` bytes."""
    if free is None:
        return Cut(tokens or TOKENS, bool(checkpointing))
    room = free * FOR_ACTIVATIONS
    kept, again = token_bytes(base)
    if checkpointing is None:
        checkpointing = base.supports_gradient_checkpointing and room / kept < (tokens or ENOUGH)
    fits = int(room / (again if checkpointing else kept))
    return Cut(tokens or _power_of_two(min(MOST, max(FEWEST, fits))), checkpointing)


def token_bytes(base: Any) -> tuple[int, int]:
    """Of one token in forward and backward pass: activations kept, and computed again layer by layer.

    Of a layer are kept what norms read, in float32, and in the base's precision what matrices, attention and the gate read.
    Computed again, a layer's input is kept, and everything of the layer that is at work, its gradients as well.
    """
    config = base.config.get_text_config()
    size, layers, hidden = base.dtype.itemsize, config.num_hidden_layers, config.hidden_size
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or hidden // heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    # A mixture of experts computes some of its experts for a token.
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    if chosen := getattr(config, "num_experts_per_tok", None):
        inner = max(inner, chosen * (getattr(config, "moe_intermediate_size", None) or inner))
    norms = 4 * (2 * hidden + (heads + groups) * width)
    layer = norms + size * (2 * hidden + 2 * heads * width + 4 * groups * width + 4 * inner)
    return layers * layer, layers * size * hidden + 3 * layer


def positions(free: int | None, vocabulary: int, *, most: int, logits: int) -> int:
    """Whose logits exist at one time: on a GPU as many as fit, elsewhere at most `most` positions and `logits` logits."""
    if free is None:
        return max(1, min(most, logits // vocabulary))
    return max(64, min(16_384, int(free * FOR_LOGITS) // (LOGIT_BYTES * vocabulary)))


def _power_of_two(number: int) -> int:
    """The largest that is not above it."""
    return 1 << (number.bit_length() - 1)
