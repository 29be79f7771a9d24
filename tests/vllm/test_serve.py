"""pmd serve: the command that it prints and runs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pmd_agent.errors import PolicyError
from pmd_agent.policies.vllm.serve_command import (
    check,
    not_taken,
    require_key,
    require_vllm,
    serve,
    serving,
)
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
    command, environment = serving(
        run, run.adapter_path, host="0.0.0.0", port=8123, python="/opt/python", arguments=("--api-key", "k")
    )
    line = " ".join(command)
    assert command[:3] == ["/opt/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert f"--lora-modules lesson={run.adapter_path.resolve()} --api-key k" in line
    assert "--max-lora-rank 32" in line and "--host 0.0.0.0 --port 8123" in line and "/models/box " in line
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in environment


def test_no_program_is_run_that_the_runs_recipe_names(tmp_path: Path) -> None:
    policy = {
        "type": "vllm",
        "model": "box",
        "python": "/evil/python",
        "arguments": ["--tool-parser-plugin", "evil.py"],
    }
    run = RunDir.create(parse_recipe({"name": "theirs", "runs": str(tmp_path), "policy": policy}))
    run.adapter_path.mkdir()
    (run.adapter_path / "adapter_config.json").write_text(json.dumps({"r": 24}))
    command, _ = serving(run, run.adapter_path, host="127.0.0.1", port=8000)
    assert command[0] == sys.executable and "evil" not in " ".join(command)
    said = not_taken(run, "", ())
    assert "--python /evil/python" in said[0] and "-- --tool-parser-plugin evil.py" in said[1]
    assert not_taken(run, "/mine", ("--max-num-seqs", "4")) == []
    command, _ = serving(run, run.adapter_path, host="127.0.0.1", port=8000, python="/mine", arguments=("--x", "1"))
    assert command[0] == "/mine" and command[-2:] == ["--x", "1"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "", "localhost.example.com"])
def test_other_machines_are_let_in_with_a_key_only(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with pytest.raises(PolicyError, match="no key is asked") as caught:
        require_key(host, ("--max-num-seqs", "4"))
    assert "VLLM_API_KEY" in caught.value.hint and "--api-key" in caught.value.hint
    require_key(host, ("--api-key", "k"))
    require_key(host, ("--api-key=k",))
    monkeypatch.setenv("VLLM_API_KEY", "k")
    require_key(host, ())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_alone_needs_no_key(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    require_key(host, ())


def test_an_adapter_that_does_not_fit_is_not_served(run: RunDir) -> None:
    with pytest.raises(PolicyError, match="does not fit this model"):
        check(run, run.adapter_path)


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
