"""`pmd run` under torchrun with fsdp: the processes share the weights for learning, real vLLM (the CPU build) samples."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; docs/vllm.md has the command for its CPU build", allow_module_level=True)

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
SMALL = [
    "steps=2", "problems.train=8", "problems.test=6", "problems.validation=0", "rollout.problems=4", "rollout.samples=4",
    "rollout.max_tokens=48", "pipeline.every=2", "evaluate.every=0", "evaluate.with_memory=false",
]  # fmt: skip


def test_a_run_whose_weights_are_in_parts(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
            *("-m", "pmd_agent", "run", str(QUICKSTART), *SMALL),
            *("--name", "parts", "distill.parallel=fsdp", "policy.type=vllm"),
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=800,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    run = tmp_path / "runs" / "parts"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(row["tokens"] > 0 and row["grad_norm"] > 0 for row in rows)
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["r"] == 16
    assert (run / "summary.json").is_file()
