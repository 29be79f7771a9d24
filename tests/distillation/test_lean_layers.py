"""The shorter way of adapters and norms gives what PEFT's and transformers' own give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pmd_agent.distillation import lean_layers
from pmd_agent.distillation.forward import ForwardPass
from pmd_agent.models.adapters import STUDENT, adapter_parameters
from tests.distillation import gpu_kernels
from tests.distillation.test_shared_prefixes import group, small

Load = Callable[..., Any]


def shortened(model: Any) -> list[str]:
    return [type(m).__name__ for m in model.modules() if "forward" in vars(m)]


def states_and_gradients(model: Any, *, half: bool) -> dict[str, Tensor]:
    for parameter in adapter_parameters(model, STUDENT).values():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(2))
    forward = ForwardPass(model, pad_id=0, share=True)
    with forward.precision():
        hidden = forward.hidden([(e.teacher_prompt_ids, e) for e in group(0)])
        weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
        (hidden.float() * weights).mean().backward()
    assert hidden.dtype == (torch.bfloat16 if half else torch.float32)
    return {"hidden": hidden.detach(), **{n: p.grad for n, p in model.named_parameters() if p.grad is not None}}


def pair(kind: str, *, half: bool = False) -> tuple[Any, Any]:
    models = small(kind), small(kind)
    for model in models:
        for name, parameter in model.named_parameters():
            if half and "lora" not in name:
                parameter.data = parameter.data.bfloat16()
    lean_layers.install(models[1])
    return models


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama", "gemma3_text"])
def test_states_and_gradients_are_the_same(kind: str) -> None:
    """Qwen2's matrices have biases; Gemma multiplies by 1 + weight, so that its norms are left alone."""
    plain, lean = pair(kind)
    names = shortened(lean)
    assert names.count("Linear") == 14 and not shortened(plain)
    assert {n for n in names if "Norm" in n} == (set() if "gemma" in kind else {f"{kind.capitalize()}RMSNorm"})
    expected, found = states_and_gradients(plain, half=False), states_and_gradients(lean, half=False)
    assert found.keys() == expected.keys() and len(found) == 29
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-6, msg=name)
    assert max(g.abs().max() for n, g in expected.items() if n != "hidden") > 1e-2


def test_in_half_precision_they_are_as_near_to_the_exact_ones() -> None:
    exact = states_and_gradients(small("qwen3"), half=False)
    plain, lean = (states_and_gradients(model, half=True) for model in pair("qwen3", half=True))

    def distance(found: dict[str, Tensor]) -> float:
        gradients = [n for n in exact if n != "hidden"]
        off = sum(float((found[n].float() - exact[n]).square().sum()) for n in gradients)
        return (off / sum(float(exact[n].square().sum()) for n in gradients)) ** 0.5

    assert all(lean[n].dtype == torch.float32 for n in lean if n != "hidden")
    assert distance(lean) < 1.2 * distance(plain) < 0.1


@pytest.mark.parametrize("change", ["disabled", "dropout", "merged", "sampling in half precision"])
def test_what_is_not_plain_goes_the_long_way(change: str, monkeypatch: pytest.MonkeyPatch, load_student: Load) -> None:
    model = load_student(dropout=0.1 if change == "dropout" else 0.0)
    lean_layers.install(model)
    if change == "merged":
        model.merge_adapter()
    if change == "sampling in half precision":
        model.get_base_model().bfloat16()

    def never(*_: Any) -> Tensor:
        raise AssertionError("taken")

    monkeypatch.setattr(lean_layers._WithAdapter, "apply", never)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        if change == "disabled":
            with model.disable_adapter():
                model(input_ids=ids)
        else:
            model(input_ids=ids)


def test_on_a_gpu_the_norm_is_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which stands in for torch's here: what is seen is that it gets what it needs, and its gradient goes back."""
    plain, lean = small("qwen3"), small("qwen3")
    lean_layers.install(lean)
    gpu_kernels.use(monkeypatch)
    expected, found = states_and_gradients(plain, half=False), states_and_gradients(lean, half=False)
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-6, msg=name)
