"""How many operators a step dispatches on the way that a GPU takes: there it is launches, not arithmetic, that take the time.

Counted on a CPU, where everything is real but for two kernels (gpu_kernels.py) and the free memory of the card.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pmd_agent.distillation import chunks, forest_attention, trainer
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.models.adapters import attach_lora
from pmd_agent.recipe.distill import DistillSection
from tests.distillation import gpu_kernels

LAYERS = 4
PASSES = 4
"""Teacher, student, the student again, and back."""
VIEWS = {
    "t",
    "view",
    "detach",
    "transpose",
    "slice",
    "unsqueeze",
    "squeeze",
    "expand",
    "select",
    "_unsafe_view",
    "unbind",
}
"""Operators that launch nothing."""


class Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.of[str(func.overloadpacket).rpartition(".")[2]] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_kernels.use(monkeypatch)
    for module in (chunks, trainer):
        monkeypatch.setattr(module, "free_bytes", lambda _: 60 * 2**30)


def learner(**changes: Any) -> Trainer:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen3", vocab_size=500, hidden_size=32, intermediate_size=64, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, pad_token_id=0,
    )  # fmt: skip
    base = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().requires_grad_(False)
    model = attach_lora(base, rank=4, alpha=8, dropout=0.0, targets="all-linear", seed=0, teacher=True)
    return Trainer(model, DistillSection(gradient_checkpointing=True, **changes), pad_id=0, seed=0)


def rollouts(problems: int, samples: int, *, shrink: int = 1) -> list[Example]:
    """Of 120 to 380 tokens, a problem of 120, a memory of 450; or all of them so many times shorter."""
    draw = random.Random(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 500) for _ in range(n))

    found = []
    for _ in range(problems):
        problem, memory = ids(120 // shrink), ids(450 // shrink)
        for n in range(samples):
            length = draw.randint(120, 380) // shrink
            found.append(
                Example(
                    problem,
                    memory + problem,
                    ids(length),
                    (True,) * length,
                    (-6.0,) * length,
                    n % 2 == 0,
                    id=f"{_}-{n}",
                )
            )
    return found


def counted(learning: Trainer, examples: list[Example]) -> Counter[str]:
    learning.step(examples[:2])
    with Count() as count:
        learning.step(examples)
    return count.of


def test_a_step_of_256_rollouts_in_at_most_15_000_operators(card: None) -> None:
    """It was 96,839 with one attention call a segment and layer."""
    of = counted(learner(), rollouts(32, 8, shrink=6))
    assert of["_varlen_attn"] == 3 * LAYERS and of["_varlen_attn_backward"] == LAYERS, "one micro-batch"
    assert of.total() <= 15_000 / 3
    assert not any("scaled_dot_product" in name for name in of)
    assert not {"special_entr", "_softmax"} & of.keys(), "nobody asked for the entropy"


def test_a_layer_s_operators_do_not_depend_on_the_number_of_segments(card: None) -> None:
    few, many = (counted(learner(), rollouts(n, 8, shrink=6)) for n in (1, 16))
    assert few.total() == many.total()


def test_attention_takes_few_operators_whatever_the_number_of_segments(
    card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all layers in all passes and micro-batches of one update; the plan is made once for all layers."""
    learning = learner(batch_tokens=2048)
    plain, inside, calls = forest_attention.in_one_call, Counter[str](), 0

    def watched(*arguments: Any) -> Any:
        nonlocal calls, inside
        calls += 1
        with Count() as count:
            found = plain(*arguments)
        inside += count.of
        return found

    monkeypatch.setattr(forest_attention, "in_one_call", watched)
    learning.step(rollouts(16, 8, shrink=6))
    batches = calls / LAYERS / 3
    assert batches > 1 and batches == int(batches)
    assert inside["_varlen_attn"] == calls
    assert inside.total() / calls < 20, "the plans of all passes included"


def test_at_most_60_kernels_a_layer_pass_and_micro_batch(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The difference that layers make, all but the optimiser's part: twice as many layers, the same step."""
    launches = []
    for layers in (2, 4):
        monkeypatch.setattr("tests.distillation.test_operators.LAYERS", layers)
        of = counted(learner(), rollouts(8, 8, shrink=6))
        launches.append(sum(n for name, n in of.items() if name not in VIEWS | {"_local_scalar_dense"}))
    assert (launches[1] - launches[0]) / 2 / PASSES <= 60
