"""One step's trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pmd_agent.distillation.profile import Profiler
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.recipe.distill import DistillSection
from tests.distillation.test_shared_prefixes import group


def test_the_second_step_is_traced(load_student: Callable[..., Any], tmp_path: Path) -> None:
    trainer = Trainer(load_student(teacher=True), DistillSection(), pad_id=0, seed=0)
    trainer.profiler.folder = tmp_path
    for step in range(3):
        trainer.step(group(0, 2))
        assert len(list(tmp_path.iterdir())) == (step > 0)
    trace = json.loads((tmp_path / "distil-step-1.trace.json").read_text())
    assert any("scaled_dot_product" in event.get("name", "") for event in trace["traceEvents"])


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    profiler = Profiler()
    for step in range(3):
        with profiler.step(step):
            pass
    assert not list(tmp_path.iterdir())
