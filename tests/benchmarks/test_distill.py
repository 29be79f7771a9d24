"""The benchmark measures what it says: the same step by both, memory of the loss."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent.console import Console
from pmd_agent.distillation import chunks
from pmd_agent.distillation.bench import Work, batch_of
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.errors import RunError
from pmd_agent.models.adapters import STUDENT, adapter_parameters
from tests.benchmarks.distill import report
from tests.benchmarks.distill.child import step
from tests.benchmarks.distill.measure import alone
from tests.benchmarks.distill.naive import NaiveTrainer
from tests.benchmarks.distill.sdpo_trl import unavailable
from tests.benchmarks.distill.shapes import SHAPES, model_of

SMALL = {"problems": 2, "samples": 3, "prompt": 20, "teacher_prompt": 50, "completion": 12, "steps": 1, "rank": 4}


@pytest.fixture(scope="module")
def work(tiny_folder: Path) -> Work:
    return Work(model=str(tiny_folder), device="cpu", **SMALL)  # type: ignore[arg-type]


def test_the_naive_step_is_the_same_step(work: Work) -> None:
    """Loss, gradients and the updated weights; the prefixes are shared in one of them only."""
    batch = batch_of(work, 300)
    ours, naive = model_of(work), model_of(work)
    trainer = Trainer(ours, work.settings().model_copy(update={"warmup": 0}), pad_id=0, seed=0)
    assert not trainer.forward.unshared
    loss = trainer.step(batch)["loss"]
    assert NaiveTrainer(naive, work.settings(), rows=2).step(batch) == pytest.approx(loss, abs=1e-5) and loss > 0.01
    for name, p in adapter_parameters(ours, STUDENT).items():
        other = adapter_parameters(naive, STUDENT)[name]
        assert p.grad is not None and other.grad is not None
        torch.testing.assert_close(p.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_a_contestant_reports_what_it_took(work: Work) -> None:
    ours, naive = step("pmd", work), step("naive", work)
    assert ours["loss"] == pytest.approx(naive["loss"], abs=1e-5)
    assert ours["flops"] < naive["flops"] and ours["tokens"] == naive["tokens"] == 72
    assert ours["seconds"] > 0 and naive["rows"] == 6 and ours["unshared"] == ""


def test_memory_of_the_loss_in_chunks_is_a_fifth_of_the_naive_one_or_less() -> None:
    """The proportions of a vocabulary of 150,000 and 4,096 tokens, thirty times smaller, so the chunks are too."""
    size: dict[str, Any] = {"vocabulary": 20_000, "tokens": 1024, "width": 64, "logits": chunks.LOGITS // 30}
    ours, naive = alone("loss-pmd", size), alone("loss-naive", size)
    assert naive["peak_bytes"] > 4 * 4 * 20_000 * 1024, "the naive one holds all logits, several times"
    assert ours["peak_bytes"] <= naive["peak_bytes"] / 5
    assert ours["loss"] == pytest.approx(naive["loss"], rel=1e-4) and ours["grad"] == pytest.approx(
        naive["grad"], rel=1e-4
    )


def test_a_contestant_that_fails_says_why() -> None:
    assert "got str" in alone("loss-pmd", {"vocabulary": 10, "tokens": 2, "width": "wide"})["error"]


def test_a_step_that_cannot_be_measured_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "alone", lambda contestant, options: {"error": f"no {contestant}"})
    with pytest.raises(RunError, match="no pmd"):
        report.bench_step(Work(), Console(StringIO(), StringIO()))


class Lines:
    """A console that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, text: str) -> None:
        self.said.append(text)

    warn = info


def test_a_loss_that_would_not_fit_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "available_memory", lambda: 2**30)
    console = Lines()
    assert report.bench_loss(console, vocabulary=150_000, tokens=4096, width=64) == {}  # type: ignore[arg-type]
    assert "not measured" in console.said[-1] and "1.0 are free" in console.said[-1]


def test_why_trl_is_not_measured_is_said() -> None:
    try:
        import trl  # noqa: F401
    except ImportError:
        assert unavailable() == "TRL is not installed"


def test_the_shapes_are_models_of_their_size() -> None:
    from transformers import AutoModelForCausalLM, Qwen3Config

    with torch.device("meta"):
        sizes = {
            name: sum(p.numel() for p in AutoModelForCausalLM.from_config(Qwen3Config(**shape)).parameters())
            for name, shape in SHAPES.items()
        }
    assert sizes == {"qwen3-8b": 8_190_735_360, "qwen3-1.7b": 1_720_574_976, "qwen3-0.6b": 596_049_920}
