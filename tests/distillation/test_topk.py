"""Top k and a tail against float64 probabilities, where the tail is plainly one minus the rest."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pmd_agent.distillation.divergences import Divergence, Name, divergence
from pmd_agent.distillation.policy_gradient import importance_ratio
from pmd_agent.distillation.topk import top_k_with_tail

NAMES: tuple[Name, ...] = ("forward_kl", "reverse_kl", "jsd")


def categories(student: Tensor, teacher: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Float64 probabilities of the student's k likeliest tokens, in both, and of all the others together."""
    found = []
    order = student.argsort(-1, descending=True)
    for logits in (student, teacher):
        e = (logits - logits.detach().max(-1, keepdim=True).values).exp()
        ranked = (e / e.sum(-1, keepdim=True)).gather(-1, order)
        found.append(torch.cat([ranked[:, :k], ranked[:, k:].sum(-1, keepdim=True)], -1))
    return found[0], found[1]


def reference(name: Name, alpha: float, student: Tensor, teacher: Tensor, k: int) -> Tensor:
    """The equations as the papers state them, a category at a time."""

    def kl(p: Tensor, q: Tensor) -> Tensor:
        columns = [
            torch.where(a > 0, a * (a.clamp_min(1e-300) / b.clamp_min(1e-300)).log(), 0)
            for a, b in zip(p.T, q.T, strict=True)
        ]
        return sum(columns, torch.zeros(len(p), dtype=torch.float64))

    s, t = categories(student.double(), teacher.double(), k)
    m = alpha * t + (1 - alpha) * s
    return {"forward_kl": kl(t, s), "reverse_kl": kl(s, t), "jsd": alpha * kl(t, m) + (1 - alpha) * kl(s, m)}[name]


def with_gradient(judge: Any, student: Tensor) -> tuple[Tensor, Tensor]:
    leaf = student.clone().requires_grad_()
    found = judge(leaf)
    found.sum().backward()
    assert leaf.grad is not None
    return found.detach(), leaf.grad


def logits(seed: int, n: int = 5, v: int = 17, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, n, v, generator=torch.Generator().manual_seed(seed)) * scale
    return student, teacher


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    alpha=st.sampled_from((0.1, 0.5, 0.9)),
    seed=st.integers(0, 10_000),
    n=st.integers(0, 4),
    v=st.integers(2, 40),
    k=st.integers(1, 45),
    scale=st.sampled_from((0.1, 1.0, 4.0)),
)
def test_value_and_gradient_are_those_of_the_reference(
    name: Name, alpha: float, seed: int, n: int, v: int, k: int, scale: float
) -> None:
    student, teacher = logits(seed, n, v, scale)
    found, gradient = with_gradient(lambda s: divergence(name, alpha, k)(s, teacher), student)
    expected, wanted = with_gradient(lambda s: reference(name, alpha, s, teacher, k), student.double())
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient.double(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [13, 14, 1000])
def test_k_of_the_whole_vocabulary_is_the_full_divergence(name: Name, k: int) -> None:
    student, teacher = logits(1, v=13)
    full = with_gradient(lambda s: divergence(name, 0.3)(s, teacher), student)
    found = with_gradient(lambda s: divergence(name, 0.3, k)(s, teacher), student)
    torch.testing.assert_close(found, full, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_more_categories_see_more_and_never_more_than_all(name: Name) -> None:
    student, teacher = logits(2, n=50, v=20)
    values = [divergence(name, 0.5, k)(student, teacher) for k in (1, 4, 12, 19, 20)]
    for fewer, more in zip(values, values[1:], strict=False):
        assert (fewer <= more + 1e-5).all()
    assert (values[0] < values[-1] - 1e-3).any(), "a test that could not fail"


@pytest.fixture(params=[(name, k) for name in NAMES for k in (1, 3, 16)], ids=str)
def judge(request: pytest.FixtureRequest) -> Divergence:
    name, k = request.param
    return divergence(name, 0.3, k)


def test_zero_where_both_are_equal_and_nothing_is_learnt_there(judge: Divergence) -> None:
    student, _ = logits(3)
    found, gradient = with_gradient(lambda s: judge(s, student + 1.5), student)
    assert found.abs().max() < 1e-6 and gradient.abs().max() < 1e-6


def test_no_gradient_reaches_the_teacher(judge: Divergence) -> None:
    student, teacher = (x.requires_grad_() for x in logits(4))
    judge(student, teacher).sum().backward()
    assert student.grad is not None and student.grad.abs().max() > 1e-4
    assert teacher.grad is None


def test_all_that_is_outside_the_student_s_top_k_is_one(judge: Divergence) -> None:
    student, teacher = logits(5, n=1, v=20)
    a, b = student[0].argsort()[:2]  # in the tail of every k here
    changed = teacher.clone()
    changed[0, a], changed[0, b] = teacher[0, b], teacher[0, a]
    torch.testing.assert_close(judge(student, changed), judge(student, teacher))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [1, 3, 6, 7])
def test_masked_tokens_give_no_nan(name: Name, k: int) -> None:
    """-inf within the top k, in the tail, as the whole tail, and for one side only."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 8, 8, generator=generator)
    student[0, 3:] = -torch.inf
    student[1, :2] = teacher[1, :2] = -torch.inf
    student[2, 1:] = teacher[2, 1:] = -torch.inf
    teacher[3, 2:6] = -torch.inf
    found, gradient = with_gradient(lambda s: divergence(name, 0.5, k)(s, teacher), student)
    assert found.isfinite().all() and gradient.isfinite().all()
    assert (gradient[student.isinf()] == 0).all()
    if name == "jsd":
        torch.testing.assert_close(found.double(), reference(name, 0.5, student, teacher, k), atol=1e-5, rtol=1e-5)


def test_a_tail_of_a_billionth_keeps_its_digits() -> None:
    """log(1 - sum) in float32 has none left below 6e-8."""
    student = torch.tensor([[30.0, 29.0, 8.0, 8.5, 7.0]])
    cut, _ = top_k_with_tail(student, student, 2)
    tail = math.log(
        sum(math.exp(x - 30) for x in (8.0, 8.5, 7.0))
        / (1 + math.exp(-1) + sum(math.exp(x - 30) for x in (8.0, 8.5, 7.0)))
    )
    assert tail < math.log(1e-9)
    assert cut.log_softmax(-1)[0, 2].item() == pytest.approx(tail, abs=1e-5)


def test_half_precision_logits_are_judged_in_float32(judge: Divergence) -> None:
    student, teacher = (x.bfloat16() for x in logits(6))
    assert judge(student, teacher).dtype == torch.float32
    torch.testing.assert_close(judge(student, teacher), judge(student.float(), teacher.float()))


def test_the_published_settings_give_the_published_formula() -> None:
    """SDPO (arXiv 2601.20802): the student's top k with a tail, JSD at alpha 0.5, times the ratio clipped at 2, over tokens."""
    student = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]]).log()
    teacher = torch.tensor([[0.2, 0.2, 0.5, 0.1], [0.1, 0.2, 0.4, 0.3]]).log()
    written, sampled = torch.tensor([0, 3]), torch.tensor([0.2, 0.5]).log()

    def half_jsd(s: tuple[float, ...], t: tuple[float, ...]) -> float:
        m = [(a + b) / 2 for a, b in zip(s, t, strict=True)]
        return sum(0.5 * a * math.log(a / c) + 0.5 * b * math.log(b / c) for a, b, c in zip(s, t, m, strict=True))

    first = half_jsd((0.5, 0.3, 0.2), (0.2, 0.2, 0.6))  # indices 0 and 1 are the student's, 2 and 3 the tail
    second = half_jsd((0.4, 0.3, 0.3), (0.3, 0.4, 0.3))
    expected = (first * 2.0 + second * 0.8) / 2  # 0.5 / 0.2 = 2.5 is clipped, 0.4 / 0.5 is not

    likelihood = student.gather(-1, written[:, None])[:, 0]
    ratio, clipped = importance_ratio(likelihood, sampled, clip=2.0)
    assert clipped.tolist() == [True, False]
    found = (divergence("jsd", 0.5, top_k=2)(student, teacher) * ratio).mean()
    assert found.item() == pytest.approx(expected, abs=1e-6)
