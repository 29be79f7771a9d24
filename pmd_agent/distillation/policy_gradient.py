"""Terms of the sampled tokens alone: the importance ratio, GRPO's clipped surrogate, the k3 estimator of a KL.

All pure, over (N,) tokens, in float32 and nats:

    student_N   log-probabilities of the written tokens under the weights being trained; gradients flow where said
    sampled_N   the same under the weights that sampled them, as the rollout carries them (temperature 1, before top-p)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST = 20.0
"""Bound of a log ratio: its exponential stays finite. SDPO's."""


def token_logprobs(logits_NV: Tensor, token_N: Tensor, logits_NC: Tensor | None = None) -> Tensor:
    """(N,) log-probability of one token a row, without an (N, V) softmax that would be kept for the backward pass.

    `logits_NC`: categories that stand for the whole vocabulary (topk.py), where there are any: their logsumexp is the same.
    """
    if logits_NC is None:
        logits_NC = logits_NV = logits_NV.float()
    return logits_NV.gather(-1, token_N[:, None])[:, 0].float() - torch.logsumexp(logits_NC, -1)


def importance_ratio(student_N: Tensor, sampled_N: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """min(student / sampled, clip), detached, and where it was clipped.

    A token's divergence is multiplied by it (SDPO, arXiv 2601.20802, with clip 2): tokens that the student has become less
    likely to write than when they were sampled count less, others at most `clip` times. The denominator stays the number of
    tokens. Exactly 1 on-policy.
    """
    log_ratio_N = (student_N.detach() - sampled_N).clamp(-MOST, MOST)
    clipped_N = log_ratio_N > math.log(clip)
    return log_ratio_N.clamp_max(math.log(clip)).exp(), clipped_N


def clipped_surrogate(
    student_N: Tensor,
    sampled_N: Tensor,
    advantage_N: Tensor,
    clip: float,
    clip_high: float | None = None,
    dual_clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    """PPO's loss -min(r A, clip(r, 1 - clip, 1 + clip_high) A), r = student / sampled, and where a clip stopped learning.

    `clip_high` None is `clip`. A is the rollout's advantage at each of its tokens. With `dual_clip` c the loss of a negative A is
    at most -c A (arXiv 1912.09729). Gradients flow through r; where a clipped side counts there is none.
    """
    log_ratio_N = (student_N - sampled_N).clamp(-MOST, MOST)
    high = clip if clip_high is None else clip_high
    ratio_N = log_ratio_N.exp()
    plain_N, limited_N = ratio_N * advantage_N, ratio_N.clamp(1 - clip, 1 + high) * advantage_N
    gain_N, clipped_N = torch.minimum(plain_N, limited_N), limited_N.detach() < plain_N.detach()
    if dual_clip is not None:
        least_N = torch.where(advantage_N < 0, dual_clip * advantage_N, gain_N.detach() - 1)
        clipped_N = clipped_N | (gain_N.detach() < least_N)
        gain_N = torch.maximum(gain_N, least_N)
    return -gain_N, clipped_N


def k3(student_N: Tensor, reference_N: Tensor) -> Tensor:
    """KL(student || reference) from the sampled token: r - log r - 1, r = reference / student (Schulman's k3, as in GRPO).

    Never negative, 0 at equality, unbiased for tokens drawn from the student. The reference is detached. The gradient,
    (1 - r) grad log s, is in expectation that of KL(reference || student): GRPO's choice; it vanishes at the same place.
    """
    log_ratio_N = (reference_N.detach() - student_N).clamp(-MOST, MOST)
    return log_ratio_N.exp() - log_ratio_N - 1
