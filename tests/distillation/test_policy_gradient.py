"""Ratios, PPO's clip, k3 and group advantages, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pmd_agent.distillation.divergences import reverse_kl, sampled_kl
from pmd_agent.distillation.groups import advantages, pass_rate_weight
from pmd_agent.distillation.policy_gradient import clipped_surrogate, importance_ratio, k3, token_logprobs


def logs(*values: float) -> Tensor:
    return torch.tensor(values).log()


def leaf(*values: float) -> Tensor:
    return logs(*values).requires_grad_()


def gradient(of: Tensor, at: Tensor) -> list[float]:
    (found,) = torch.autograd.grad(of.sum(), at)
    return [float(x) for x in found]


# ---- what is read of the logits


def test_a_token_s_log_probability() -> None:
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, -torch.inf, 1.0]], requires_grad=True)
    found = token_logprobs(logits, torch.tensor([1, 2]))
    assert found.tolist() == pytest.approx(
        [0.5 - math.log(math.exp(2) + math.exp(0.5) + math.exp(-1)), 1 - math.log(1 + math.e)]
    )
    found.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    wanted = torch.tensor([[0.0, 1, 0], [0, 0, 1]]) - logits.detach().softmax(-1)
    torch.testing.assert_close(logits.grad, wanted)
    assert token_logprobs(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).shape == (0,)


# ---- the importance ratio


def test_the_importance_ratio_by_hand() -> None:
    student = leaf(0.5, 0.1, 0.3, 0.8)
    ratio, clipped = importance_ratio(student, logs(0.2, 0.4, 0.3, 0.4), clip=2.0)
    assert ratio.tolist() == pytest.approx([2.0, 0.25, 1.0, 2.0])  # 0.5 / 0.2 = 2.5 is cut; 0.8 / 0.4 is just 2
    assert clipped.tolist()[:3] == [True, False, False]
    assert not ratio.requires_grad


def test_the_importance_ratio_stays_finite() -> None:
    ratio, clipped = importance_ratio(torch.tensor([0.0, -1e9]), torch.tensor([-1e9, 0.0]), clip=2.0)
    assert ratio.tolist() == pytest.approx([2.0, math.exp(-20)]) and clipped.tolist() == [True, False]


# ---- GRPO


def test_the_clip_by_hand() -> None:
    """Ratios 1.5, 1.5, 0.5, 0.5 and 1.1 at a clip of 0.2."""
    student = leaf(0.6, 0.6, 0.2, 0.2, 0.44)
    sampled, advantage = logs(0.4, 0.4, 0.4, 0.4, 0.4), torch.tensor([2.0, -2.0, 2.0, -2.0, 1.0])
    loss, clipped = clipped_surrogate(student, sampled, advantage, 0.2)
    assert loss.tolist() == pytest.approx([-2.4, 3.0, -1.0, 1.6, -1.1], abs=1e-6)
    assert clipped.tolist() == [True, False, False, True, False]
    # d(-r A)/d log p = -r A, and none where the clipped side is the smaller.
    assert gradient(loss, student) == pytest.approx([0.0, 3.0, -1.0, 0.0, -1.1], abs=1e-6)


def test_a_higher_upper_clip() -> None:
    student = leaf(0.6)
    loss, clipped = clipped_surrogate(student, logs(0.4), torch.tensor([2.0]), 0.2, 0.6)
    assert loss.item() == pytest.approx(-3.0) and not clipped.item()


def test_on_policy_the_gradient_is_that_of_reinforce() -> None:
    student = leaf(0.3, 0.7)
    loss, clipped = clipped_surrogate(student, student.detach(), torch.tensor([1.5, -0.5]), 0.2)
    assert loss.tolist() == pytest.approx([-1.5, 0.5]) and not clipped.any()
    assert gradient(loss, student) == pytest.approx([-1.5, 0.5])


def test_k3_by_hand() -> None:
    student = leaf(0.5, 0.2, 0.3)
    reference = leaf(0.25, 0.4, 0.3)
    found = k3(student, reference)
    assert found.tolist() == pytest.approx([0.5 + math.log(2) - 1, 2 - math.log(2) - 1, 0.0], abs=1e-6)
    assert gradient(found, student) == pytest.approx([0.5, -1.0, 0.0], abs=1e-6)  # 1 - r
    assert k3(student.detach(), reference).requires_grad is False


def test_k3_is_unbiased() -> None:
    s, r = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    expected = (s * (s / r).log()).sum()
    assert (s * k3(s.log(), r.log())).sum().item() == pytest.approx(expected.item(), abs=1e-6)


def test_ratios_of_unlikely_tokens_stay_finite() -> None:
    student, sampled = torch.tensor([-1e4, 0.0], requires_grad=True), torch.tensor([0.0, -1e4])
    loss, _ = clipped_surrogate(student, sampled, torch.tensor([-1.0, -1.0]), 0.2)
    total = loss.sum() + k3(student, sampled).sum()
    total.backward()
    assert student.grad is not None and student.grad.isfinite().all() and total.isfinite()


def test_no_tokens_no_losses() -> None:
    none = torch.zeros(0)
    assert clipped_surrogate(none, none, none, 0.2)[0].shape == (0,)
    assert k3(none, none).shape == importance_ratio(none, none, 2.0)[0].shape == sampled_kl(none, none).shape == (0,)


# ---- the sampled-token estimator


def test_the_sampled_estimator_has_the_reverse_kl_as_its_mean_in_value_and_gradient() -> None:
    """Every token of a small vocabulary, weighed by the chance that the student writes it."""
    logits, teacher = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(0))
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    every = torch.arange(6)
    chance = logits.softmax(-1)[0]
    student_N, teacher_N = (token_logprobs(x.expand(6, 6), every) for x in (ours, teacher))
    found, expected = (chance * sampled_kl(student_N, teacher_N)).sum(), reverse_kl(theirs, teacher).sum()
    found.backward()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    assert ours.grad is not None and theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)


def test_the_sampled_estimator_by_hand() -> None:
    student, teacher = leaf(0.5, 0.1), leaf(0.25, 0.1)
    found = sampled_kl(student, teacher)
    assert found.tolist() == pytest.approx([math.log(2), 0.0])
    assert gradient(found, student) == pytest.approx([math.log(2), 0.0])
    assert not sampled_kl(student.detach(), teacher).requires_grad


# ---- groups


def test_advantages_by_hand() -> None:
    # mean 0.25, squared deviations 0.5625 + 3 x 0.0625 = 0.75, over n - 1: 0.25, so a deviation of 0.5
    assert advantages([1.0, 0.0, 0.0, 0.0]) == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)
    assert advantages([0.2, 0.6]) == pytest.approx([-(0.5**0.5), 0.5**0.5], abs=1e-5)


@pytest.mark.parametrize("rewards", [[], [1.0], [0.0, 0.0], [0.7] * 5])
def test_without_a_difference_no_advantage(rewards: list[float]) -> None:
    assert advantages(rewards) == pytest.approx([0.0] * len(rewards), abs=1e-9)


def test_the_weight_of_a_pass_rate_by_hand() -> None:
    assert pass_rate_weight([True] * 4 + [False] * 4) == 0.5
    assert pass_rate_weight([True, False, False, False, False, False, False, False]) == pytest.approx(0.4)  # p = 2 / 10
    assert [pass_rate_weight([right] * 8) for right in (False, True)] == pytest.approx([0.3, 0.3])  # p = 1 / 10, 9 / 10


def test_no_group_weighs_nothing() -> None:
    weights = [pass_rate_weight([True] * c + [False] * (8 - c)) for c in range(9)]
    assert min(weights) > 0.29 and max(weights) == weights[4]
    assert weights == pytest.approx(weights[::-1])
