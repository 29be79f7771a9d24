"""Losses a token: distillation towards a teacher, and GRPO.

Pure. Both give, beside the loss, what a step reports of its tokens. Logits are (N, V); the columns of `Tokens` and `Judged` are
(N,). Gradients flow through the loss alone, and to the student alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pmd_agent.distillation.divergences import categories, divergence, entropy, sampled_kl
from pmd_agent.distillation.policy_gradient import clipped_surrogate, importance_ratio, k3, token_logprobs
from pmd_agent.recipe.distill import DistillSection, GrpoSection


class Tokens(NamedTuple):
    """The written tokens of a batch."""

    target_N: Tensor
    sampled_N: Tensor
    """Log-probability under the weights that sampled it."""
    weight_N: Tensor
    advantage_N: Tensor

    def at(self, part: slice) -> Tokens:
        return Tokens(*(column[part] for column in self))


class Judged(NamedTuple):
    """What is known of each token after the comparison."""

    loss_N: Tensor
    """Nats (for GRPO, nats times advantage), the importance ratio multiplied in, the weight not."""
    gain_N: Tensor
    """How much more the teacher believes in the token than the student, in nats; 0 where there is no teacher."""
    surprisal_N: Tensor
    """-log p of the token under the student, in nats."""
    entropy_N: Tensor
    """Of the student's whole distribution; 0 where it was not asked for: it takes three passes over the vocabulary."""
    ratio_N: Tensor
    """Student to sampling policy, after the clip in distillation."""
    clipped_N: Tensor


def distilled(
    student_NV: Tensor, teacher_NV: Tensor, tokens: Tokens, settings: DistillSection, *, with_entropy: bool = False
) -> Judged:
    """min(ratio, clip) D(student, stopgrad teacher), D as the recipe names it (SDPO, arXiv 2601.20802)."""
    if settings.divergence == "sampled_kl":
        student_N, teacher_N = (token_logprobs(x, tokens.target_N) for x in (student_NV, teacher_NV.detach()))
        loss_N = sampled_kl(student_N, teacher_N)
    else:
        student_NC, teacher_NC = categories(student_NV, teacher_NV, settings.top_k)
        loss_N = divergence(settings.divergence, settings.alpha)(student_NC, teacher_NC)
        with torch.no_grad():  # the ratio has no gradient
            student_N = token_logprobs(student_NV, tokens.target_N, student_NC)
            teacher_N = token_logprobs(teacher_NV, tokens.target_N, teacher_NC)
    ratio_N, clipped_N = importance_ratio(student_N, tokens.sampled_N, settings.importance_clip or math.inf)
    if settings.importance_clip is not None:
        loss_N = loss_N * ratio_N
    student_N = student_N.detach()
    entropy_N = entropy(student_NV) if with_entropy else torch.zeros_like(ratio_N)
    return Judged(loss_N, teacher_N - student_N, -student_N, entropy_N, ratio_N, clipped_N)


def reinforced(
    student_NV: Tensor,
    initial_NV: Tensor | None,
    tokens: Tokens,
    settings: GrpoSection,
    *,
    with_entropy: bool = False,
) -> Judged:
    """GRPO: the clipped surrogate plus kl times k3 to the initial policy, where kl is not 0 (`initial_NV` is None if it is)."""
    student_N = token_logprobs(student_NV, tokens.target_N)
    loss_N, clipped_N = clipped_surrogate(
        student_N, tokens.sampled_N, tokens.advantage_N, settings.clip, settings.clip_high, settings.dual_clip
    )
    if initial_NV is not None:
        loss_N = loss_N + settings.kl * k3(student_N, token_logprobs(initial_NV, tokens.target_N))
    ratio_N, _ = importance_ratio(student_N, tokens.sampled_N, math.inf)
    nothing_N = torch.zeros_like(ratio_N)
    entropy_N = entropy(student_NV) if with_entropy else nothing_N
    return Judged(loss_N, nothing_N, -student_N.detach(), entropy_N, ratio_N, clipped_N)
