"""Divergences between teacher and student, one value a token.

Pure functions of logits. For all of them:

    student_NV   (N, V) logits; gradients flow
    teacher_NV   (N, V) logits; detached here, so that no gradient can reach the teacher
    returns      (N,) nats per token, >= 0, zero exactly where the two distributions are equal

N runs over the tokens that the policy wrote (prompts, padding and other parties' tokens are left out before); the mean over
them is the loss, as in METHOD: L = E sum_s KL(...) averaged over tokens. Arithmetic is in float32 whatever the input.

The paper writes KL(student || stopgrad teacher); its alpha names 0 forward KL, 0.5 JSD, 1 reverse KL.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

Divergence = Callable[[Tensor, Tensor], Tensor]
IMPOSSIBLE = -1e30
"""Log-probability of a masked token: its exponential is 0, and it is finite."""


def forward_kl(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """KL(teacher || student) = sum_v t (log t - log s): covers all that the teacher would say."""
    s, t = _logprobs(student_NV, teacher_NV)
    return _kl(t, s)


def reverse_kl(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """KL(student || teacher) = sum_v s (log s - log t): settles on what the teacher finds likely."""
    s, t = _logprobs(student_NV, teacher_NV)
    return _kl(s, t)


def jsd(student_NV: Tensor, teacher_NV: Tensor, alpha: float = 0.5) -> Tensor:
    """Generalised Jensen-Shannon divergence: alpha KL(t || m) + (1 - alpha) KL(s || m), m = alpha t + (1 - alpha) s.

    `alpha` in (0, 1) is the teacher's share of the mixture m. Divided by alpha it tends to the forward KL as alpha -> 0, and
    divided by 1 - alpha to the reverse KL as alpha -> 1.
    """
    s, t = _logprobs(student_NV, teacher_NV)
    weight = s.new_tensor(alpha)
    m = torch.logaddexp(t + weight.log(), s + (1 - weight).log())
    return alpha * _kl(t, m) + (1 - alpha) * _kl(s, m)


def divergence(name: Literal["forward_kl", "reverse_kl", "jsd"], alpha: float = 0.5) -> Divergence:
    """The divergence that a recipe names."""
    known: dict[str, Divergence] = {
        "forward_kl": forward_kl,
        "reverse_kl": reverse_kl,
        "jsd": partial(jsd, alpha=alpha),
    }
    return known[name]


def _logprobs(student_NV: Tensor, teacher_NV: Tensor) -> tuple[Tensor, Tensor]:
    """In float32. A masked token (logit -inf) becomes very unlikely: 0 * (-inf + inf) is NaN, and so is its gradient."""
    s, t = torch.log_softmax(student_NV.float(), -1), torch.log_softmax(teacher_NV.detach().float(), -1)
    return s.clamp_min(IMPOSSIBLE), t.clamp_min(IMPOSSIBLE)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """sum_v p (log p - log q) from log-probabilities; a masked token (p = 0) adds nothing."""
    return (p.exp() * (p - q)).sum(-1)
