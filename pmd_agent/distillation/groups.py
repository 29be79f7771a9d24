"""What the verdicts on one problem's rollouts, its group, say of each: GRPO's advantage, and how much the problem has to teach."""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST = 1e-6


def advantages(rewards_G: Sequence[float], *, normalise: bool = True) -> list[float]:
    """Reward less the group's mean; `normalise` divides by (standard deviation + 1e-6), with n - 1 in the variance.

    GRPO (arXiv 2402.03300) normalises, SDPO's GRPO baseline does not. Zero for all where the rewards are equal, and for a group
    of one: there is nothing to compare with.
    """
    n = len(rewards_G)
    if n < 2:
        return [0.0] * n
    mean = sum(rewards_G) / n
    scale = math.sqrt(sum((r - mean) ** 2 for r in rewards_G) / (n - 1)) + SMALLEST if normalise else 1.0
    return [(r - mean) / scale for r in rewards_G]


def pass_rate_weight(correct_G: Sequence[bool]) -> float:
    """sqrt(p (1 - p)): most where the policy sometimes succeeds, least where it always or never does.

    p is the rule of succession's estimate (correct + 1) / (n + 2), not the observed rate: that one is 0 or 1 in a uniform
    group, whose weight 0 would drop it, and a group of failures is where memory teaches what nothing else does. Of 8 rollouts
    an even group has 0.5, a uniform one 0.3. Between problems only the proportions matter: the trainer divides by their sum.
    """
    p = (sum(correct_G) + 1) / (len(correct_G) + 2)
    return math.sqrt(p * (1 - p))
