"""Starting, watching and ending a server. What stands in for vLLM here has children too, one that left its group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import PolicyError
from pmd_agent.policies.vllm import server as vllm_server
from pmd_agent.policies.vllm.log import reason_in
from pmd_agent.policies.vllm.process_guard import session_members
from pmd_agent.policies.vllm.server import RunningServer, VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings, server_command, server_environment, typed

# Called as `python -m vllm... --port N`: two sleeping children, their ids written down, and /health.
INTERPRETER = """#!{python}
import http.server, os, pathlib, subprocess, sys, time
here = pathlib.Path(__file__).parent
trouble = (here / "trouble").read_text() if (here / "trouble").exists() else ""
if trouble.startswith("says "):
    print(trouble[5:], file=sys.stderr)
    sys.exit(1)
children = [subprocess.Popen(["sleep", "1000"]), subprocess.Popen(["sleep", "1000"], start_new_session=True)]
with (here / "pids").open("a") as file:
    print(os.getpid(), *(c.pid for c in children), file=file)
if trouble == "never ready":
    print("Loading weights", flush=True)
    time.sleep(1000)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if (here / "ill").exists() else 200)
        self.end_headers()
    def log_message(self, *arguments): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    script = tmp_path / "python"
    script.write_text(INTERPRETER.format(python=sys.executable))
    script.chmod(0o755)
    return script


@pytest.fixture
def make(stand_in: Path, tmp_path: Path) -> Iterator[Callable[..., VllmServer]]:
    made: list[VllmServer] = []

    def make(**options: Any) -> VllmServer:
        settings = ServerSettings("some/model", python=str(stand_in))
        made.append(VllmServer(settings, tmp_path / "run" / "vllm.log", **{"start_seconds": 30.0} | options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def started(folder: Path) -> list[list[int]]:
    """Of each start, the server's process id and its children's."""
    return [[int(pid) for pid in line.split()] for line in (folder / "pids").read_text().splitlines()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_a_server_starts_answers_and_ends_with_all_its_children(
    make: Callable[..., VllmServer], tmp_path: Path
) -> None:
    said: list[str] = []
    server = make(progress=said.append)
    assert server.ensure() == 1 and server.ensure() == 1
    (pids,) = started(tmp_path)
    watchdog = server.pid
    assert watchdog is not None and all(map(alive, pids)) and set(pids[:2]) <= set(session_members(watchdog))
    assert any("vLLM serves some/model" in line for line in said)
    assert "--port" in (tmp_path / "run" / "vllm.log").read_text()
    server.stop()
    assert not any(map(alive, [*pids, watchdog])) and not session_members(watchdog) and server.pid is None


def test_a_killed_server_is_started_again(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make()
    seen = server.ensure()
    os.kill(started(tmp_path)[0][0], signal.SIGKILL)
    server.recover(seen)
    assert server.starts == seen + 1 and gone(started(tmp_path)[0])
    server.recover(seen)  # another thread's report of the same death
    assert server.starts == seen + 1 and all(map(alive, started(tmp_path)[1]))
    os.kill(started(tmp_path)[1][0], signal.SIGKILL)
    assert server.pid is not None and gone([*started(tmp_path)[1], server.pid])
    assert server.ensure() == seen + 2


def test_a_server_whose_engine_died_is_started_again(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make(restarts=1)
    seen = server.ensure()
    (tmp_path / "ill").touch()
    timer = threading.Timer(0.5, (tmp_path / "ill").unlink)
    timer.start()
    server.recover(seen)
    assert server.starts == seen + 1 and gone(started(tmp_path)[0])


def test_a_well_server_is_left_alone(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make()
    seen = server.ensure()
    server.recover(seen)
    assert server.starts == seen and len(started(tmp_path)) == 1


def test_restarts_are_bounded_and_counted_anew_after_work(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make(restarts=1)

    def kill() -> int:
        seen = server.ensure()
        os.kill(started(tmp_path)[-1][0], signal.SIGKILL)
        return seen

    server.recover(kill())
    server.worked()
    server.recover(kill())
    with pytest.raises(PolicyError, match="died 2 times in a row"):
        server.recover(kill())
    assert gone([pid for pids in started(tmp_path) for pid in pids])


def test_an_error_gives_the_logs_own_reason(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    (tmp_path / "trouble").write_text(
        "says (EngineCore pid=7) ERROR 11-23 00:43:01 [core.py:9] ValueError: No available memory for the cache blocks.\n"
        "(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above."
    )
    with pytest.raises(PolicyError, match="did not start: ValueError: No available memory") as caught:
        make().ensure()
    assert "vllm.log" in caught.value.hint and "gpu_share" in caught.value.hint


def test_a_taken_port_is_not_the_end(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    (tmp_path / "trouble").write_text("says OSError: [Errno 98] Address already in use")
    with pytest.raises(PolicyError, match="Address already in use"):
        make().ensure()
    assert (tmp_path / "run" / "vllm.log").read_text().count("--port") == vllm_server.PORT_TRIES


def test_a_server_that_is_never_ready_is_ended(
    make: Callable[..., VllmServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "SAY_SECONDS", 0.3)
    (tmp_path / "trouble").write_text("never ready")
    said: list[str] = []
    with pytest.raises(PolicyError, match="not ready after 2 s; its last line: Loading weights"):
        make(start_seconds=2.0, progress=said.append).ensure()
    assert gone(started(tmp_path)[0]) and any("Loading weights" in line for line in said)


def test_no_vllm_says_what_to_install(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    (tmp_path / "trouble").write_text("says /usr/bin/python: No module named vllm")
    with pytest.raises(PolicyError, match="No module named vllm") as caught:
        make().ensure()
    assert "pip install 'pmd-agent[vllm]'" in caught.value.hint


OWNER = """
import os, sys, time
from pathlib import Path
from pmd_agent.policies.vllm.server_arguments import ServerSettings
from pmd_agent.policies.vllm.server import VllmServer
server = VllmServer(ServerSettings("m", python=sys.argv[1]), Path(sys.argv[2]), start_seconds=30.0)
server.ensure()
child = os.fork()
if child == 0:  # a child of pmd, such as a sandbox, that outlives it
    time.sleep(30)
    os._exit(0)
print(server.pid, child, flush=True)
time.sleep(1000)
"""


def test_kill_9_of_the_owner_leaves_no_server(stand_in: Path, tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(stand_in), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    watchdog, child = map(int, owner.stdout.readline().split())
    pids = [*started(tmp_path)[0], watchdog]
    assert all(map(alive, pids))
    owner.kill()
    owner.wait()
    assert gone(pids)
    os.kill(child, signal.SIGKILL)
    owner.stdout.close()


def test_kill_9_of_the_watchdog_takes_the_server_with_it(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make()
    seen = server.ensure()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert gone(started(tmp_path)[0][:1])
    assert server.ensure() == seen + 1
    assert gone(started(tmp_path)[0][1:2])  # the one that stayed in its session; the other is out of reach
    os.kill(started(tmp_path)[0][2], signal.SIGKILL)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", ""),
        ("INFO loading\n\n", "INFO loading"),
        ("ValueError: early\nINFO fine\nOSError: late\nINFO bye", "OSError: late"),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, Invalid repository ID or local directory specified: '/nowhere'.\nPlease verify",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig "
            "Value error, Invalid repository ID or local directory specified: '/nowhere'. Please verify",
        ),
        ("usage: x\napi_server.py: error: unrecognized arguments: --nonsense", "api_server.py: error: unrecognized arguments: --nonsense"),
        ("(EngineCore_DP0 pid=3) torch.OutOfMemoryError: CUDA out of memory.\nRuntimeError: Engine core initialization failed.",
         "torch.OutOfMemoryError: CUDA out of memory."),
    ],
)  # fmt: skip
def test_reasons_are_found_in_logs(log: str, reason: str) -> None:
    assert reason_in(log) == reason


def test_commands_say_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from pmd_agent.policies.vllm import server_arguments as vllm_command

    settings = ServerSettings(
        "m", lora_rank=20, tensor_parallel=2, max_model_len=512, sleep=True, arguments=("--x", "1")
    )
    monkeypatch.setattr(vllm_command, "has_gpu", lambda: True)
    line = typed(server_command(settings, port=5, adapters={"a": Path("/b")}), server_environment(settings))
    for part in (
        "--max-lora-rank 32", "--tensor-parallel-size 2", "--max-model-len 512", "--enable-sleep-mode", "--port 5",
        "--lora-modules a=/b", "--gpu-memory-utilization 0.45", "VLLM_SERVER_DEV_MODE=1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
    ):  # fmt: skip
        assert part in line
    assert line.endswith("--x 1") and "--data-parallel-size" not in line
    monkeypatch.setattr(vllm_command, "has_gpu", lambda: False)
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    line = typed(server_command(settings, port=5), server_environment(settings))
    assert "--dtype float32" in line and "--enforce-eager" in line and "--enable-sleep-mode" not in line
    assert "VLLM_CPU_KVCACHE_SPACE=1" in line
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    assert "VLLM_CPU_KVCACHE_SPACE" not in server_environment(settings)


def test_a_running_server_is_waited_for_and_looked_at(fake: Any) -> None:
    fake.answer = lambda path, body: (200, {"paths": {"/v1/load_lora_adapter": {}}})
    server = RunningServer(fake.address + "/v1/", patience=1.0)
    assert server.ensure() == 1 and server.address == fake.address
    server.recover(1)
    server.recover(1)
    assert server.starts == 2
    fake.answer = lambda path, body: (200, {"paths": {"/v1/completions": {}}})
    with pytest.raises(PolicyError, match="does not load adapters") as caught:
        RunningServer(fake.address).ensure()
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in caught.value.hint


def test_a_server_that_is_not_there_is_an_error(fake: Any) -> None:
    fake.close()
    with pytest.raises(PolicyError, match="does not answer"):
        RunningServer(fake.address, patience=0.1).ensure()
