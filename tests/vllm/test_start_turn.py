"""Servers that start on one card take turns."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import PolicyError
from pmd_agent.policies.vllm import server as vllm_server
from pmd_agent.policies.vllm import start_turn
from pmd_agent.policies.vllm.server import VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings
from pmd_agent.policies.vllm.start_turn import devices, turn

HOLD = """
import sys, time
from pmd_agent.policies.vllm.start_turn import turn
with turn(("0",), "model-a", seconds=5, say=print):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(start_turn, "LOOK_SECONDS", 0.01)


@pytest.fixture
def holder() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Another process that is starting a server on card 0."""
    made: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        made.append(subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True))
        assert made[0].stdout is not None and made[0].stdout.readline() == "held\n"
        return made[0]

    yield start
    for process in made:
        process.kill()
        process.communicate()


def test_a_process_waits_says_for_whom_and_goes_on_when_the_other_is_killed(
    holder: Callable[[], subprocess.Popen[str]],
) -> None:
    other, said = holder(), list[str]()

    def kill(line: str) -> None:
        said.append(line)
        os.kill(other.pid, signal.SIGKILL)

    with turn(("0",), "model-b", seconds=30, say=kill):
        pass
    assert said == [f"waiting for GPU 0: process {other.pid} (model-a) is starting a server there"]


def test_it_gives_up_with_one_error(holder: Callable[[], subprocess.Popen[str]]) -> None:
    other = holder()
    with (
        pytest.raises(PolicyError, match=f"GPU 0 was not free.*process {other.pid} .model-a.") as caught,
        turn(("0",), "model-b", seconds=0.05, say=lambda line: None),
    ):
        pass
    assert "policy.start_seconds" in caught.value.hint
    with turn(("1",), "model-b", seconds=0.05, say=lambda line: None):
        pass  # another card is free


def test_all_cards_are_given_up_again_also_after_an_error() -> None:
    for _ in range(2):
        with pytest.raises(KeyError), turn(("0", "1"), "m", seconds=0.05, say=lambda line: None):
            raise KeyError
    assert stat.S_IMODE(start_turn.folder().stat().st_mode) == 0o700


def test_somebody_elses_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / f"pmd-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(PolicyError, match="belongs to somebody else"):
        start_turn.folder()


def test_the_cards_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_turn, "has_gpu", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices(ServerSettings("m")) == ("0",)
    assert devices(ServerSettings("m", tensor_parallel=2)) == ("0", "1")
    assert devices(ServerSettings("m", gpus="3, 2,1", data_parallel=2)) == ("2", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5,7")
    assert devices(ServerSettings("m")) == ("GPU-5",)
    monkeypatch.setattr(start_turn, "has_gpu", lambda: False)
    assert devices(ServerSettings("m", gpus="1")) == ()


def test_two_servers_on_one_card_start_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds its turn until it answers, not until its process is there."""
    monkeypatch.setattr(vllm_server, "devices", lambda settings: ("0",))
    at_once, most, lock = 0, 0, threading.Lock()

    def slow(self: VllmServer) -> Any:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.1)
        with lock:
            at_once -= 1

    monkeypatch.setattr(VllmServer, "_try_to_start", slow)
    servers = [VllmServer(ServerSettings("m"), tmp_path / f"{n}.log") for n in range(3)]
    threads = [threading.Thread(target=server.ensure) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and [server.starts for server in servers] == [1, 1, 1]
