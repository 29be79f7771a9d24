"""`pmd bench distill` measures what it says: operations by hand, sharing on and off, memory as the kernel counts it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pmd_agent.distillation import bench
from pmd_agent.distillation.bench import (
    Work,
    batch_of,
    flops,
    measure_ceiling,
    measure_step,
    timed,
    with_adapters,
)
from pmd_agent.errors import RunError
from pmd_agent.models.loading import load_base

SMALL = {"problems": 2, "samples": 3, "prompt": 20, "teacher_prompt": 50, "completion": 12, "steps": 1, "rank": 4}


@pytest.fixture(scope="module")
def work(tiny_folder: Path) -> Work:
    return Work(model=str(tiny_folder), device="cpu", **SMALL)  # type: ignore[arg-type]


def test_operations_are_counted_by_hand(work: Work) -> None:
    model, batch = with_adapters(load_base(work.model, device="cpu"), work), batch_of(work, 300)
    attention, mlp = 32 * (32 + 16 + 16 + 32), 3 * 32 * 64
    adapter = 4 * ((32 + 32) * 2 + (32 + 16) * 2 + (32 + 64) * 3)
    per_token = 2 * 2 * (attention + mlp + adapter)
    vocabulary = model.get_base_model().config.vocab_size
    head = 2 * 32 * vocabulary

    def pairs(first: int, last: int) -> int:
        return sum(p + 1 for p in range(first, last))

    attended = 2 * 4 * 32  # layers, two products of one multiplication and one addition, width of all heads
    written = 2 * 3 * 12
    alone = 6 * (2 * per_token * 32 + per_token * 62) + 3 * head * written
    alone += 6 * attended * (3 * pairs(0, 32) + pairs(0, 62))
    assert flops(model, batch, shared=False) == alone
    shared = 2 * (2 * per_token * (20 + 36) + per_token * (50 + 36)) + 3 * head * written
    shared += 2 * attended * (3 * (pairs(0, 20) + 3 * pairs(20, 32)) + pairs(0, 50) + 3 * pairs(50, 62))
    assert flops(model, batch, shared=True) == shared


def test_rollouts_without_a_teacher_cost_no_teachers_pass(work: Work) -> None:
    model, batch = with_adapters(load_base(work.model, device="cpu"), work), batch_of(work, 300)
    taught, alone = (flops(model, b, shared=True) for b in (batch, [replace(e, advantage=1.0) for e in batch]))
    assert 0 < alone < 0.8 * taught and flops(model, [], shared=True) == 0


def test_the_fastest_of_the_measured_steps_counts() -> None:
    calls: list[int] = []
    assert timed(lambda: calls.append(1), 3, torch.device("cpu")) < 0.1
    assert len(calls) == 4, "one is not measured"


def test_a_step_is_the_same_with_and_without_sharing_and_less_work_with(work: Work) -> None:
    shared, whole = measure_step(work), measure_step(replace(work, share_prefixes=False))
    assert shared.loss == pytest.approx(whole.loss, abs=1e-5) and shared.loss > 0.01
    assert shared.flops < whole.flops and shared.tokens == whole.tokens == 2 * 3 * 12
    assert shared.unshared == "" and "share_prefixes" in whole.unshared
    assert shared.seconds > 0 and shared.model_bytes == whole.model_bytes > 0


def test_the_peak_counts_memory_that_was_given_back() -> None:
    # In a process of its own: this one may hold freed memory, which is taken again without being counted.
    code = (
        "import torch; from pmd_agent.distillation.bench import Peak; torch.ones(4); peak = Peak(torch.device('cpu'));"
        "torch.ones(64 * 2**20 // 4); print(peak.taken())"  # 64 MiB, freed at once
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 60 * 2**20 < int(done.stdout) < 200 * 2**20


def test_a_step_too_large_for_the_gpu_is_one_clear_error(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nsecond line")

    monkeypatch.setattr(bench, "timed", full)
    with pytest.raises(RunError, match=r"Tried to allocate 2\.00 GiB") as raised:
        measure_step(work)
    assert "second line" not in str(raised.value) and "--batch-tokens" in raised.value.hint


def test_the_ceiling_names_the_machine(work: Work) -> None:
    found = measure_ceiling(work)
    assert found.flops > 1e9 and found.name.startswith("CPU") and found.dtype == "float32"
