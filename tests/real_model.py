"""A real pretrained language model, for tests that a random one cannot make: SmolLM2-135M-Instruct is enough.

PMD_TEST_MODEL=smollm2.gguf python -m pytest tests/test_real_model.py      a GGUF file, or a model's folder
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.types import Insight

PROBLEMS: dict[str, dict[str, Any]] = {
    "house_rules": {
        "type": "house_rules", "departments": 2, "rules": 2, "conventions": ["weight", "priority", "phone"],
        "train": 8, "test": 1, "validation": 0,
    },
    "gsm8k": {"type": "math", "validation_fraction": 0},
}  # fmt: skip
TOKENS = 12
"""Of each greedy answer that is compared."""


def model() -> str:
    """What PMD_TEST_MODEL names; without it the test is skipped."""
    name = os.environ.get("PMD_TEST_MODEL", "")
    path = Path(name).expanduser().absolute()
    if not name or not (path.is_file() or (path / "config.json").is_file()):
        pytest.skip("PMD_TEST_MODEL names no model's folder and no GGUF file: no real model here")
    if path.is_file():
        pytest.importorskip("gguf", reason="the `gguf` package is not installed")
    return str(path)


def recipe(problems: str, folder: Path, **policy: Any) -> Path:
    """Two steps of a few short attempts, as a file."""
    section = dict(PROBLEMS[problems])
    if problems == "gsm8k":
        rows = Path(os.environ.get("PMD_TEST_DATA") or "none", "gsm8k")
        if not rows.is_dir():
            pytest.skip("PMD_TEST_DATA names no folder with gsm8k/{train,test}.jsonl")
        section["path"] = str(rows.absolute())
    written = {
        "name": problems, "steps": 2, "runs": str(folder / "runs"), "problems": section,
        "policy": {"model": model(), "dtype": "float32", "device": "cpu"} | policy,
        "rollout": {"problems": 2, "samples": 2, "max_tokens": 32},
        "pipeline": {"every": 2, "max_tokens": 128},
        "memory": {"max_tokens": 512},
        "distill": {"lr": 1e-4, "warmup": 0, "lora": {"rank": 8, "alpha": 16}},
        "evaluate": {"every": 0, "samples": 1, "temperature": 0.0, "max_problems": 1, "with_memory": False},
    }  # fmt: skip
    path = folder / f"{problems}.yaml"
    path.write_text(json.dumps(written))
    return path


def pmd(*arguments: str, cwd: Path) -> str:
    """In a process of its own."""
    command = [sys.executable, "-m", "pmd_agent", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_steps(run: Path, rollouts: int = 4) -> list[dict[str, Any]]:
    """Two steps with attempts, reflections and an update each, asked in the words for instruct models."""
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [step["rollouts"] for step in steps] == [rollouts, rollouts]
    for step in steps:
        assert step["reflections_calls"] == 2 and step["response_tokens"] > 1
        assert step["context_fraction"] > 0 and math.isfinite(step["loss"]) and step["grad_norm"] > 0
        assert 0.9 < step["importance_ratio"] < 1.1, "what sampled is what learns"
    traces = (run / "programs" / "step-000000.jsonl").read_text()
    assert "You write notes for a colleague" in traces and "All interactions will be structured" not in traces
    return steps


def insights(run: Path) -> list[Insight]:
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        return list(memory.list("insight", include_archived=True))


def plain_answers(folder: Path, prompts: list[list[int]]) -> list[list[int]]:
    """Greedy answers of an exported adapter by transformers and peft alone."""
    script = textwrap.dedent("""
        import json, sys
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM
        folder, prompts, tokens = json.loads(sys.stdin.read())
        base = json.load(open(folder + "/adapter_config.json"))["base_model_name_or_path"]
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), folder).eval()
        found = []
        for ids in prompts:
            out = model.generate(
                input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=tokens, do_sample=False,
            )
            found.append(out[0, len(ids):].tolist())
        assert not any(name.startswith("pmd_agent") for name in sys.modules)
        print(json.dumps(found))
    """)
    asked = json.dumps([str(folder), prompts, TOKENS])
    done = subprocess.run([sys.executable, "-c", script], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return found
