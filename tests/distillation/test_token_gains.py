"""The rollouts that are kept token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.token_gains import MOST_TOKENS, aligned, pieces, to_show
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.recipe.distill import DistillSection


def example(number: int, *, correct: bool, advantage: float | None = None) -> Example:
    generator = torch.Generator().manual_seed(number)
    prompt, completion, memory = (
        tuple(torch.randint(3, 250, (n,), generator=generator).tolist()) for n in (4, 5 + number, 6)
    )
    written = (number % 2 == 0,) + (True,) * (len(completion) - 1)
    return Example(
        prompt, memory + prompt, completion, written, (-1.0,) * len(completion), correct, 1.0, advantage, f"r{number}"
    )


def test_a_few_rollouts_keep_the_gain_at_each_token(load_student: Callable[..., Any]) -> None:
    batch = [example(i, correct=i < 4) for i in range(6)]
    taught = Trainer(load_student(teacher=True), DistillSection(show_tokens=3), pad_id=0, seed=0)
    taught.step(batch)
    kept = taught.token_gains
    assert sorted(kept) == sorted(to_show(batch, 3)) == ["r0", "r2", "r4"]
    for e in batch:
        if e.id in kept:
            assert [gain is not None for gain in kept[e.id]] == list(e.written)
            values = [gain for gain in kept[e.id] if gain is not None]
            assert sum(values) / len(values) == pytest.approx(taught.gains[e.id], abs=0.01)
    taught.step([])
    assert not taught.token_gains


def test_as_many_right_as_wrong_ones_are_shown() -> None:
    batch = [example(i, correct=i < 2, advantage=None if i < 9 else 1.0) for i in range(10)]
    assert to_show(batch, 4) == ["r0", "r1", "r2", "r5"] and to_show(batch, 0) == []
    assert to_show(batch, 99) == [f"r{i}" for i in range(9)], "what has no teacher has no gain"


def test_a_long_rollout_keeps_its_first_tokens() -> None:
    n = MOST_TOKENS + 5
    long = Example((1,), (1,), (2,) * n, (True,) * n, (0.0,) * n, True)
    assert aligned(long, [0.123] * n) == [0.12] * MOST_TOKENS


def test_the_texts_of_tokens_are_the_whole_text(tokenizer: Any) -> None:
    def decode(some: Any) -> str:
        return str(tokenizer.decode(list(some), skip_special_tokens=False))

    ids = tokenizer("Use zog max: 37 zog 14 = 37. Größe 漢字 🙂 </answer>", add_special_tokens=False).input_ids
    found = pieces(ids, decode)
    assert len(found) == len(ids) and "".join(found) == decode(ids)
    split = list("a漢b".encode())
    assert pieces(split, lambda some: bytes(some).decode("utf-8", "replace")) == ["a", "", "", "漢", "b"]
