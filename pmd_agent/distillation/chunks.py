"""Loss and gradient a chunk of positions at a time: no more than one chunk's logits exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from pmd_agent.distillation.compiled import Guarded
from pmd_agent.distillation.losses import Judged, Tokens
from pmd_agent.distillation.room import free_bytes, positions

Objective = Callable[[Tensor, list[Tensor], Tokens, bool], Judged]
"""From (N, D) hidden states of the student and of those it is compared with; and whether it may be compiled."""
CHUNK = 1024
"""Positions whose logits exist at one time on a CPU, at most; on a GPU its memory decides (room.py)."""
LOGITS = 1 << 25
"""Logits of one model that exist at one time on a CPU, at most: 128 MiB in float32."""


def chunks(tokens: Tokens, vocabulary: int) -> Iterator[tuple[slice, Tokens]]:
    """Pieces of so many tokens that their logits stay within bounds, of like sizes; one empty piece where there are none."""
    count = len(tokens.target_N)
    free = free_bytes(tokens.target_N.device)
    size = positions(free, vocabulary, most=CHUNK, logits=LOGITS)
    if free is not None:
        size = max(1, -(-count // max(1, -(-count // size))))
    for start in range(0, max(1, count), size):
        part = slice(start, start + size)
        yield part, tokens.at(part)


def backward(
    objective: Objective,
    student_ND: Tensor,
    others_ND: Sequence[Tensor],
    tokens: Tokens,
    *,
    total: float,
    vocabulary: int,
    guard: Guarded,
) -> Judged:
    """Adds the gradient of sum(weight x loss) / total to whatever `student_ND` and the objective were made of.

    A chunk's gradient is taken back to its hidden states before the next chunk is made, then all of them in one pass through
    the model. Nothing is computed twice, and memory does not grow with tokens times vocabulary.
    """
    judged, back = [], []
    for part, t in chunks(tokens, vocabulary):

        def work(fast: bool, part: slice = part, t: Tokens = t) -> tuple[Judged, Tensor]:
            hidden_ND = student_ND[part].detach().requires_grad_()
            found = objective(hidden_ND, [h[part] for h in others_ND], t, fast)
            ((found.loss_N * t.weight_N).sum() / total).backward()
            assert hidden_ND.grad is not None
            return Judged(*(column.detach() for column in found)), hidden_ND.grad

        found, gradient = guard.run(work, device=student_ND.device)
        judged.append(found)
        back.append(gradient)
    student_ND.backward(torch.cat(back))
    return Judged(*map(torch.cat, zip(*judged, strict=True)))
