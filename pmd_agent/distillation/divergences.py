"""Divergences between teacher and student, one value a token.

Pure functions of logits over C categories. For all of them:

    student_NC   (N, C) logits; gradients flow
    teacher_NC   (N, C) logits; detached here, so that no gradient can reach the teacher
    returns      (N,) nats per token, >= 0, zero exactly where the two distributions are equal

The categories are the whole vocabulary (C = V), or the student's top k and one tail (C = k + 1, topk.py): the same functions
serve both. N runs over the tokens that the policy wrote (prompts, padding and other parties' tokens are left out before); the
mean over them is the loss: L = E sum_s KL(...), averaged over tokens. Arithmetic is in float32 whatever the input.

Forward KL is KL(teacher || student), reverse KL is KL(student || teacher). SDPO's alpha (arXiv 2601.20802) names the same
divergences: 0 forward, 1 reverse, JSD between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from pmd_agent.distillation.topk import top_k_with_tail

Divergence = Callable[[Tensor, Tensor], Tensor]
Name = Literal["forward_kl", "reverse_kl", "jsd"]
IMPOSSIBLE = -1e30
"""Log-probability of a masked token: its exponential is 0, and it is finite."""


def forward_kl(student_NC: Tensor, teacher_NC: Tensor) -> Tensor:
    """KL(teacher || student) = sum_c t (log t - log s): covers all that the teacher would say."""
    s, t = _logprobs(student_NC, teacher_NC)
    return _kl(t, s)


def reverse_kl(student_NC: Tensor, teacher_NC: Tensor) -> Tensor:
    """KL(student || teacher) = sum_c s (log s - log t): settles on what the teacher finds likely."""
    s, t = _logprobs(student_NC, teacher_NC)
    return _kl(s, t)


def jsd(student_NC: Tensor, teacher_NC: Tensor, alpha: float = 0.5) -> Tensor:
    """Generalised Jensen-Shannon divergence: alpha KL(t || m) + (1 - alpha) KL(s || m), m = alpha t + (1 - alpha) s.

    `alpha` in (0, 1) is the teacher's share of the mixture m. Divided by alpha it tends to the forward KL as alpha -> 0, and
    divided by 1 - alpha to the reverse KL as alpha -> 1.
    """
    s, t = _logprobs(student_NC, teacher_NC)
    weight = s.new_tensor(alpha)
    m = torch.logaddexp(t + weight.log(), s + (1 - weight).log())
    return alpha * _kl(t, m) + (1 - alpha) * _kl(s, m)


def divergence(name: Name, alpha: float = 0.5, top_k: int | None = None) -> Divergence:
    """The divergence that a recipe names, of (N, V) logits: over the student's top k and a tail, or (None) over all of V."""
    known: dict[str, Divergence] = {
        "forward_kl": forward_kl,
        "reverse_kl": reverse_kl,
        "jsd": partial(jsd, alpha=alpha),
    }
    judge = known[name]
    if top_k is None:
        return judge
    return lambda student_NV, teacher_NV: judge(*categories(student_NV, teacher_NV, top_k))


def categories(student_NV: Tensor, teacher_NV: Tensor, top_k: int | None) -> tuple[Tensor, Tensor]:
    """What is compared: the student's top k and a tail, or (None) all of V; float32."""
    if top_k is None:
        return student_NV.float(), teacher_NV.detach().float()
    return top_k_with_tail(student_NV, teacher_NV, top_k)


def sampled_kl(student_N: Tensor, teacher_N: Tensor) -> Tensor:
    """KL(student || teacher) from the sampled token alone: log s(y) - log t(y), y drawn from the student.

    `student_N` and `teacher_N` are (N,) log-probabilities in nats of the tokens that were written; the teacher's is detached.
    The value is an unbiased estimate of the reverse KL and may be negative. Its gradient is (log s - log t) grad log s with
    the first factor detached, unbiased for that of the reverse KL: the plain derivative of the value, grad log s, has
    expectation zero. In expectation SDPO's estimator without logits, whose value, log s (log s - log t), is not a divergence.
    """
    log_ratio = (student_N - teacher_N).detach()
    return log_ratio + log_ratio * (student_N - student_N.detach())


@torch.no_grad()
def entropy(logits_NV: Tensor) -> Tensor:
    """(N,) -sum_v p log p in nats, a gauge: no gradient. A masked token adds nothing."""
    spread_NV: Tensor = torch.special.entr(torch.softmax(logits_NV, -1, dtype=torch.float32))
    return spread_NV.sum(-1)


def _logprobs(student_NC: Tensor, teacher_NC: Tensor) -> tuple[Tensor, Tensor]:
    """In float32. A masked token (logit -inf) becomes very unlikely: 0 * (-inf + inf) is NaN, and so is its gradient."""
    s, t = torch.log_softmax(student_NC.float(), -1), torch.log_softmax(teacher_NC.detach().float(), -1)
    return s.clamp_min(IMPOSSIBLE), t.clamp_min(IMPOSSIBLE)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """sum_c p (log p - log q) from log-probabilities; a masked token (p = 0) adds nothing."""
    return (p.exp() * (p - q)).sum(-1)
