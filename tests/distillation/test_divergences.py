"""Divergences against hand-computed numbers and a float64 reference written without torch's log-softmax."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pmd_agent.distillation.divergences import Divergence, divergence, forward_kl, jsd, reverse_kl

ALPHAS = (0.05, 0.3, 0.5, 0.9)
DIVERGENCES: dict[str, Divergence] = {"forward": forward_kl, "reverse": reverse_kl} | {
    f"jsd {alpha}": divergence("jsd", alpha) for alpha in ALPHAS
}


@pytest.fixture(params=DIVERGENCES)
def loss(request: pytest.FixtureRequest) -> Divergence:
    return DIVERGENCES[request.param]


def reference(name: str, student: np.ndarray[Any, Any], teacher: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """In float64, as the equations stand in the papers."""

    def softmax(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
        return np.asarray(e / e.sum(-1, keepdims=True))

    def kl(p: np.ndarray[Any, Any], q: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        ratio = np.log(np.where(p > 0, p, 1)) - np.log(np.where(p > 0, q, 1))
        return np.asarray((p * ratio).sum(-1))

    s, t = softmax(student), softmax(teacher)
    if name == "forward":
        return kl(t, s)
    if name == "reverse":
        return kl(s, t)
    alpha = float(name.removeprefix("jsd "))
    m = alpha * t + (1 - alpha) * s
    return alpha * kl(t, m) + (1 - alpha) * kl(s, m)


def logits(seed: int, n: int = 7, v: int = 13, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, n, v, generator=generator) * scale
    return student, teacher


def logits_of(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_values_are_those_of_the_reference(name: str) -> None:
    for seed, scale in itertools.product(range(3), (0.1, 3.0, 10.0)):
        student, teacher = logits(seed, scale=scale)
        expected = reference(name, student.numpy(), teacher.numpy())
        np.testing.assert_allclose(DIVERGENCES[name](student, teacher).numpy(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradients_are_those_of_the_reference_by_finite_differences(name: str) -> None:
    student, teacher = logits(3, n=2, v=5, scale=1.5)
    leaf = student.clone().requires_grad_()
    DIVERGENCES[name](leaf, teacher).sum().backward()
    assert leaf.grad is not None
    numeric = np.zeros(student.shape)
    for index in np.ndindex(*student.shape):
        step = np.zeros(student.shape)
        step[index] = 1e-6
        up, down = student.double().numpy() + step, student.double().numpy() - step
        difference = reference(name, up, teacher.numpy()).sum() - reference(name, down, teacher.numpy()).sum()
        numeric[index] = difference / 2e-6
    np.testing.assert_allclose(leaf.grad.numpy(), numeric, atol=1e-5)


def test_the_directions_by_hand() -> None:
    student, teacher = logits_of(0.5, 0.5), logits_of(0.9, 0.1)
    covers = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    settles = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert (round(covers, 4), round(settles, 4)) == (0.3681, 0.5108)
    assert forward_kl(student, teacher).item() == pytest.approx(covers, abs=1e-6)
    assert reverse_kl(student, teacher).item() == pytest.approx(settles, abs=1e-6)


def test_the_mixture_by_hand() -> None:
    student, teacher = logits_of(0.5, 0.5), logits_of(0.9, 0.1)
    to_teacher = 0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4)  # m = 0.25 t + 0.75 s
    to_student = 0.5 * math.log(0.5 / 0.6) + 0.5 * math.log(0.5 / 0.4)
    assert jsd(student, teacher, 0.25).item() == pytest.approx(0.25 * to_teacher + 0.75 * to_student, abs=1e-6)


def test_the_ends_of_jsd_are_the_kls() -> None:
    student, teacher = logits(4, scale=1.0)
    torch.testing.assert_close(jsd(student, teacher, 1e-3) / 1e-3, forward_kl(student, teacher), rtol=5e-3, atol=1e-3)
    torch.testing.assert_close(
        jsd(student, teacher, 1 - 1e-3) / 1e-3, reverse_kl(student, teacher), rtol=5e-3, atol=1e-3
    )


def test_jsd_is_bounded_where_kl_is_not() -> None:
    student, teacher = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]])
    assert jsd(student, teacher, 0.5).item() == pytest.approx(math.log(2), abs=1e-5)
    assert forward_kl(student, teacher).item() == pytest.approx(50, rel=1e-4)


def test_zero_where_both_are_equal_and_nothing_is_learnt_there(loss: Divergence) -> None:
    student, _ = logits(5)
    leaf = student.clone().requires_grad_()
    found = loss(leaf, student + 2.5)  # a constant added to all logits changes no distribution
    found.sum().backward()
    assert leaf.grad is not None
    assert found.abs().max().item() < 1e-6
    assert leaf.grad.abs().max().item() < 1e-6


def test_never_negative(loss: Divergence) -> None:
    for scale in (0.01, 1.0, 30.0):
        assert loss(*logits(6, n=200, scale=scale)).min().item() > -1e-6


def test_a_masked_token_is_left_out_of_value_and_gradient(loss: Divergence) -> None:
    student, teacher = logits(7, v=6)
    masked = torch.full((len(student), 2), -torch.inf)
    with_masked = torch.cat([student, masked], -1).requires_grad_()
    without = student.clone().requires_grad_()
    found, expected = loss(with_masked, torch.cat([teacher, masked], -1)), loss(without, teacher)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    assert with_masked.grad is not None and without.grad is not None
    torch.testing.assert_close(with_masked.grad[:, :6], without.grad)
    assert (with_masked.grad[:, 6:] == 0).all()


def test_a_token_that_only_the_teacher_rules_out_gives_no_nan() -> None:
    student, teacher = logits(8, v=4)
    teacher[:, 1] = -torch.inf
    for name in ("forward", "jsd 0.5"):
        leaf = student.clone().requires_grad_()
        found = DIVERGENCES[name](leaf, teacher)
        found.sum().backward()
        assert leaf.grad is not None
        assert found.isfinite().all() and leaf.grad.isfinite().all()
        expected = reference(name, student.numpy(), teacher.numpy())
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


def test_no_tokens_no_losses(loss: Divergence) -> None:
    student = torch.zeros(0, 5, requires_grad=True)
    found = loss(student, torch.zeros(0, 5))
    assert found.shape == (0,)
    found.sum().backward()


def test_no_gradient_reaches_the_teacher(loss: Divergence) -> None:
    student, teacher = (x.requires_grad_() for x in logits(9))
    loss(student, teacher).sum().backward()
    assert student.grad is not None and student.grad.abs().max() > 1e-3
    assert teacher.grad is None


def test_half_precision_logits_are_judged_in_float32(loss: Divergence) -> None:
    student, teacher = (x.bfloat16() for x in logits(10))
    found = loss(student, teacher)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(student.float(), teacher.float()))


def test_divergence_takes_alpha_only_for_jsd() -> None:
    student, teacher = logits(11)
    for name, function in (("forward_kl", forward_kl), ("reverse_kl", reverse_kl)):
        torch.testing.assert_close(divergence(name, 0.2)(student, teacher), function(student, teacher))  # type: ignore[arg-type]
    torch.testing.assert_close(divergence("jsd", 0.2)(student, teacher), jsd(student, teacher, 0.2))
    assert not torch.allclose(jsd(student, teacher, 0.2), jsd(student, teacher, 0.8))
