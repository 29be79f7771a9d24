"""The head's product in float32."""

from __future__ import annotations

import pytest
import torch

from pmd_agent.distillation import read_out as module
from pmd_agent.distillation.divergences import jsd
from pmd_agent.distillation.read_out import read_out


@pytest.fixture
def weight() -> torch.Tensor:
    return (torch.randn(500, 64, generator=torch.Generator().manual_seed(0)) * 0.5).bfloat16()


def states(seed: int) -> torch.Tensor:
    return torch.randn(40, 64, generator=torch.Generator().manual_seed(seed))


def test_the_floor_of_half_precision_is_gone(weight: torch.Tensor) -> None:
    """Two that are nearly one: what bfloat16 logits make of their divergence is mostly rounding."""
    student, teacher = states(1).bfloat16(), (states(1) + 0.002 * states(2)).bfloat16()
    true = jsd(student.double() @ weight.double().t(), teacher.double() @ weight.double().t()).mean()
    exact, half = (
        jsd(read_out(student, weight), read_out(teacher, weight)),
        jsd(student @ weight.t(), teacher @ weight.t()),
    )
    assert abs(exact.mean() - true) < 1e-6
    assert abs(half.mean() - true) > 3e-5 > 0.5 * true


@pytest.mark.parametrize("rows", [64, 8192])
def test_value_and_gradient_under_autocast(weight: torch.Tensor, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", rows)
    hidden = states(3).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = read_out(hidden[None], weight)
    assert found.dtype == torch.float32 and found.shape == (1, 40, 500)
    torch.testing.assert_close(found[0], hidden.detach().float() @ weight.float().t())
    towards = torch.randn(1, 40, 500, generator=torch.Generator().manual_seed(4))
    (found * towards).sum().backward()
    assert hidden.grad is not None and hidden.grad.dtype == torch.bfloat16
    torch.testing.assert_close(hidden.grad.float(), towards[0] @ weight.float(), rtol=0.05, atol=0.3)


def test_the_way_of_a_gpu_asks_for_a_float32_result() -> None:
    """As torch checks it, on tensors without numbers."""
    one = torch.empty(16, 16, dtype=torch.bfloat16, device="meta")
    assert torch.mm(one, one.t(), out_dtype=torch.float32).dtype == torch.float32
    assert not module.widens("cpu", torch.bfloat16)
