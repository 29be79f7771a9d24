"""The student's top k and one tail: K + 1 categories that stand for the whole vocabulary.

A divergence over them is exact for the two distributions with the rest of the vocabulary taken together, and never above the
full one (data processing). Without the tail the k probabilities do not sum to one: the sum is no divergence, may be
negative, and had to be clamped elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

EXCLUDED = -1e30
"""Logit of what is not in the tail: it adds 0 to the tail's mass, and a tail of nothing else has finite gradients."""


def top_k_with_tail(student_NV: Tensor, teacher_NV: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(N, V) logits of both -> (N, K + 1) logits of both, float32: K tokens and, last, the tail.

    The indices are the student's k likeliest tokens, and the teacher is read at the same (SDPO, arXiv 2601.20802). The tail's
    logit is the logsumexp of all others, so softmax gives exactly the k probabilities and the rest of the mass: log(1 - sum)
    is never formed, which loses every digit of a small tail (SDPO clamps it at 1e-7). With k >= V the logits come back
    whole. Choosing the indices has no gradient; the student's logits keep theirs, the tail's included.
    """
    student_NV, teacher_NV = student_NV.float(), teacher_NV.detach().float()
    if k >= student_NV.shape[-1]:
        return student_NV, teacher_NV
    index_NK = student_NV.detach().topk(k, -1).indices
    categories: Callable[[Tensor, Tensor], Tensor] = _Categories.apply
    return categories(student_NV, index_NK), categories(teacher_NV, index_NK)


class _Categories(torch.autograd.Function):
    """The logits at some tokens, and last the logsumexp of all others.

    What torch would derive from gather, scatter and logsumexp, in two passes over the vocabulary in place of five: the tail's
    gradient goes to its tokens by their share in it, where the chosen ones have exactly none.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, index_NK: Tensor) -> Tensor:
        rest_NV = logits_NV.scatter(-1, index_NK, EXCLUDED)
        tail_N1 = torch.logsumexp(rest_NV, -1, keepdim=True)
        ctx.save_for_backward(rest_NV, tail_N1, index_NK)
        return torch.cat([logits_NV.gather(-1, index_NK), tail_N1], -1)

    @staticmethod
    def backward(ctx: Any, gradient_NC: Tensor) -> tuple[Tensor, None]:
        rest_NV, tail_N1, index_NK = ctx.saved_tensors
        spread_NV = (rest_NV - tail_N1).exp_().mul_(gradient_NC[:, -1:])
        return spread_NV.scatter_(-1, index_NK, gradient_NC[:, :-1]), None
