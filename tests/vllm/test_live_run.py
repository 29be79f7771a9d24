"""`pmd run` with its attempts and programs on real vLLM (the CPU build) and the policy in the box."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.policies.vllm.process_guard import session_members

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1500)]

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; docs/vllm.md has the command for its CPU build", allow_module_level=True)

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
VLLM = "policy.type=vllm"
SMALL = [
    "steps=4", "problems.train=16", "problems.test=4", "problems.validation=2", "rollout.problems=8", "rollout.samples=8",
    "pipeline.every=2", "evaluate.every=0", "rollout.lag=1",
]  # fmt: skip


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pmd_agent", "run", str(QUICKSTART), VLLM, *arguments]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def watchdogs() -> dict[int, int]:
    """Of all living servers: the watchdog's id and its parent's."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if any(word.endswith(b"vllm/watchdog.py") for word in words):
                found[int(entry.name)] = int(parent)
    return found


def wait_for(true: Callable[[], object], process: subprocess.Popen[bytes] | None, seconds: float = 400.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it took too long"
        assert process is None or process.poll() is None, "the run ended early"
        time.sleep(0.02)


def rollout_ids(run: Path) -> list[str]:
    return [row["id"] for path in sorted((run / "rollouts").iterdir()) for row in lines(path)]


def test_the_quickstart_learns_as_it_does_in_process(tmp_path: Path) -> None:
    started = time.monotonic()
    world = ["seed=1", "problems.seed=1", "steps=40", "problems.validation=0"]
    done = subprocess.run(command("--name", "q", *world), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads((tmp_path / "runs/q/summary.json").read_text())
    rows = lines(tmp_path / "runs/q/metrics.jsonl")
    calls, unparsed = (sum(row[f"reflections_{name}"] for row in rows) for name in ("calls", "unparsed"))
    print(f"{time.monotonic() - started:.0f} s; {summary['base']['free']:.3f} -> {summary['final']['free']:.3f}")
    print(f"reflections: {calls}, unparsed: {unparsed}; seconds: {summary['seconds']}")
    assert summary["steps"] == len(rows) == 40 and summary["rollouts"] == 40 * 64
    assert summary["final"]["free"] >= summary["base"]["free"] + 0.2
    assert calls >= 200 and unparsed <= 0.01 * calls
    assert (
        rows[0]["insights_written"] >= 16 and rows[0]["context_fraction"] == 1.0
    )  # as in process: the syntax costs no content
    assert (tmp_path / "runs/q/adapter/adapter_config.json").is_file()
    assert [p.name for p in (tmp_path / "runs/q/adapters").iterdir()] == ["v000040"]  # one version at a time
    assert {row["policy_version"] for row in lines(tmp_path / "runs/q/rollouts/step-000039.jsonl")} == {39}


def test_kill_9_of_the_server_and_then_of_pmd(tmp_path: Path) -> None:
    run, before = tmp_path / "runs" / "k", set(watchdogs())
    output = (tmp_path / "output").open("wb")
    process = subprocess.Popen(command("--name", "k", *SMALL), cwd=tmp_path, stdout=output, stderr=output)
    wait_for(lambda: len(lines(run / "metrics.jsonl")) >= 1, process)
    (first,) = [pid for pid, parent in watchdogs().items() if parent == process.pid]
    for pid in session_members(first):  # in the midst of a step: the API server and its engine, the watchdog spared
        if pid != first:
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(lines(run / "metrics.jsonl")) >= 3, process)
    assert not session_members(first)
    (second,) = [pid for pid, parent in watchdogs().items() if parent == process.pid]
    members = session_members(second)
    assert len(members) >= 3  # the watchdog, the API server, the engine
    process.kill()
    process.wait()
    output.close()
    wait_for(lambda: not session_members(second), None, 40.0)
    assert set(watchdogs()) <= before
    assert "starting it again" in (tmp_path / "output").read_text()
    assert not (run / "summary.json").exists(), "killed too late to show anything"

    subprocess.run(command("--name", "k", "--resume", *SMALL), cwd=tmp_path, check=True, capture_output=True)
    rows = lines(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3] and all(row["rollouts"] == 64 for row in rows)
    ids = rollout_ids(run)
    assert len(ids) == len(set(ids)) == 4 * 64
    versions = {
        row["id"].split("/")[0]: row["policy_version"] for p in (run / "rollouts").iterdir() for row in lines(p)
    }
    assert versions == {"0": 0, "1": 0, "2": 1, "3": 2}  # a step ahead
    assert set(watchdogs()) <= before
