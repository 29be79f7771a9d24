"""pmd serve: the command that it prints and runs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pmd_agent.errors import PolicyError, RunError
from pmd_agent.policies.vllm.serve_command import check, require_vllm, serve, serving
from pmd_agent.recipe import parse_recipe
from pmd_agent.runs.folder import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    recipe = {"name": "lesson", "runs": str(tmp_path), "policy": {"type": "local", "model": "box"}}
    run = RunDir.create(parse_recipe(recipe))
    run.adapter_path.mkdir()
    (run.adapter_path / "adapter_config.json").write_text(json.dumps({"r": 24}))
    return run


def test_the_adapter_is_served_under_the_runs_name(run: RunDir) -> None:
    command, environment = serving(run, host="0.0.0.0", port=8123, python="/opt/python", arguments=("--api-key", "k"))
    line = " ".join(command)
    assert command[:3] == ["/opt/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert f"--lora-modules lesson={run.adapter_path.resolve()} --api-key k" in line
    assert "--max-lora-rank 32" in line and "--host 0.0.0.0 --port 8123" in line and "/models/box " in line
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in environment


def test_a_run_without_an_adapter_is_an_error(run: RunDir) -> None:
    (run.adapter_path / "adapter_config.json").unlink()
    with pytest.raises(RunError, match="no adapter to serve"):
        serving(run, host="127.0.0.1", port=8000)


def test_an_adapter_that_does_not_fit_is_not_served(run: RunDir) -> None:
    with pytest.raises(PolicyError, match="does not fit this model"):
        check(run)


def test_without_vllm_there_is_one_message(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 3\n")
    bare.chmod(0o755)
    with pytest.raises(PolicyError, match="vLLM is not installed") as error:
        require_vllm(str(bare))
    assert "pip install 'pmd-agent[vllm]'" in error.value.hint and "--python" in error.value.hint
    with pytest.raises(PolicyError, match="cannot be run"):
        require_vllm(str(tmp_path / "nowhere"))
    bare.write_text("#!/bin/sh\nexit 0\n")
    require_vllm(str(bare))


def test_the_status_is_the_servers_own() -> None:
    assert serve([sys.executable, "-c", "raise SystemExit(7)"], {}) == 7
    assert serve([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"], {}) == 128 + signal.SIGTERM


def test_dry_run_prints_the_command_and_stops(run: RunDir) -> None:
    from pmd_agent.models.adapters import STUDENT, attach_lora
    from pmd_agent.models.loading import load_base

    model = attach_lora(
        load_base("box", device="cpu"), rank=2, alpha=2, dropout=0.0, targets=("q_proj",), seed=0, teacher=False
    )
    model.save_pretrained(str(run.path), selected_adapters=[STUDENT])
    shutil.rmtree(run.adapter_path)
    (run.path / STUDENT).rename(run.adapter_path)
    code = f"from pmd_agent.cli.serve import serve; serve({str(run.path)!r}, None, 8000, '127.0.0.1', '', 0.9, True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert "vllm.entrypoints.openai.api_server --model" in done.stdout and len(done.stdout.splitlines()) == 1
