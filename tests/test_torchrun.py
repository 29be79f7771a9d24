"""pmd run under torchrun: one run, learnt by two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import RecipeError
from pmd_agent.recipe import parse_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
SMALL = [
    "steps=2", "problems.train=8", "problems.test=6", "problems.validation=0", "rollout.problems=4", "rollout.samples=4",
    "rollout.max_tokens=48", "pipeline.every=2", "evaluate.every=0", "evaluate.with_memory=false",
]  # fmt: skip
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def pmd(where: Path, *arguments: str, launcher: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(LAUNCHER if launcher else ()), "-m", "pmd_agent", "run", str(RECIPE), *arguments],
        cwd=where, capture_output=True, text=True, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
    )  # fmt: skip


def steps_of(where: Path, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (where / "runs" / name / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


@pytest.mark.slow
def test_two_processes_make_the_run_that_one_makes(tmp_path: Path) -> None:
    alone = pmd(tmp_path, "--name", "alone", *SMALL)
    assert alone.returncode == 0, alone.stderr[-3000:]
    together = pmd(tmp_path, "--name", "together", *SMALL, "distill.parallel=ddp", launcher=True)
    assert together.returncode == 0, together.stderr[-3000:]
    one, two = steps_of(tmp_path, "alone"), steps_of(tmp_path, "together")
    assert two[0] == pytest.approx(one[0], abs=1e-4) and one[0]["tokens"] > 0
    assert len(two) == 2
    assert together.stdout.count("step  1/2") == 1, "only rank 0 speaks"
    assert (tmp_path / "runs" / "together" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_a_mistake_under_torchrun_is_said_once_and_ends_all(tmp_path: Path) -> None:
    done = pmd(tmp_path, *SMALL, "rollout.max_prompt_tokens=16", "distill.parallel=ddp", launcher=True)
    assert done.returncode != 0
    assert done.stderr.count("error: Every training problem exceeds") == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distill": {"parallel": "fsdp"}}, "policy.type=vllm"),
        ({"distill": {"parallel": "ddp", "enabled": False}}, "nothing is learnt"),
        ({"distill": {"parallel": "ddp"}, "policy": {"type": "scripted"}}, "nothing is learnt"),
    ],
)
def test_what_cannot_be_done_in_parallel_is_a_fault_of_the_recipe(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_recipe(changes)
