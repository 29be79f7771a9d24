"""Several processes on one Chroma server, which the tests start themselves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory import HashingEmbedder, Memory, recall
from pmd_agent.types import Insight, Problem

CHROMA = shutil.which("chroma", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
WRITE = """
import runpy, sys
from pmd_agent.memory import Memory
make = runpy.run_path(sys.argv[3])
with Memory.connect(sys.argv[1], "shared", make["TinyEmbedder"]()) as memory:
    print("open", flush=True)
    sys.stdin.readline()  # both are open before either writes
    for step in range(20):
        memory.add_experiences([make["experience"](f"{step}/{sys.argv[2]}/{g}") for g in range(3)])
        memory.rewrite_insights(sys.argv[2], [make["insight"](f"{step}/{sys.argv[2]}/strategy-0")])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if CHROMA is None:
        pytest.skip("the command chroma is not installed")
    folder = tmp_path_factory.mktemp("chroma")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [CHROMA, "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    log = (folder / "log.txt").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=1).close()
                break
            assert process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its children
        process.wait()
        log.close()


def test_two_processes_write_and_nothing_is_lost(server: str, make: SimpleNamespace) -> None:
    names = ["p", "q"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, server, name, str(make.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=make.env,
        )
        for name in names
    ]  # fmt: skip
    with Memory.connect(server, "shared", make.TinyEmbedder()) as reader:
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "open\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=120)
            assert writer.returncode == 0
        assert not any(reader.counts().values()), "the index is of before"
        found = recall(reader, [Problem(name, "x") for name in names], [[], []])
        for name, each in zip(names, found, strict=True):
            assert [e.id for e in each.context.strategies] == [f"19/{name}/strategy-0"]
            assert len(reader.experiences(name)) == 60
            assert {e.id for e in reader.experiences(name)} == {f"{s}/{name}/{g}" for s in range(20) for g in range(3)}
        assert reader.counts() == {"experience": 120, "insight": 2, "behavior": 0, "archive": 38}
        make.dump(reader)


def test_what_another_process_replaced_and_judged_is_taken_in(server: str, make: SimpleNamespace) -> None:
    with (
        Memory.connect(server, "judged", make.TinyEmbedder()) as one,
        Memory.connect(server, "judged", make.TinyEmbedder()) as other,
    ):
        one.rewrite_insights("p", [make.insight("1/p/strategy-0", text="first")])
        assert [i.text for i in recalled(other)] == ["first"]
        one.rewrite_insights("p", [make.insight("2/p/strategy-0", text="second")])  # as many as before
        assert [i.text for i in other.insights("p")] == [], "what it knew of is gone, and is passed over"
        assert [i.text for i in recalled(other)] == ["second"]
        one.note(3, states={"2/p/strategy-0": ["quarantined", "harm"]})
        assert recalled(other) == () and other.effects().state("2/p/strategy-0") == "quarantined"
        reads = other._store._writers
        assert reads is not None and not reads.others_wrote(), "nothing is read again where nothing was written"


def recalled(memory: Memory) -> tuple[Insight, ...]:
    return recall(memory, [Problem("p", "x")], [[]])[0].context.strategies


def test_rollback_is_exact_on_a_server_too(server: str, make: SimpleNamespace) -> None:
    with Memory.connect(server, "back", make.TinyEmbedder()) as memory:
        for step in range(3):
            make.write_step(memory, step)
        before = make.dump(memory)
        make.write_step(memory, 3)
        memory.note(3, uses={"a": 1})
        memory.rollback(3)
        assert make.dump(memory) == before
    with (
        Memory.connect(server, "back", make.TinyEmbedder()) as again,
        Memory.connect(server, "other", make.TinyEmbedder()) as other,
    ):
        assert make.dump(again) == before and "a" not in again.noted("uses")
        assert not any(other.counts().values()), "every name is a memory of its own"


def test_another_embedder_is_refused(server: str) -> None:
    Memory.connect(server, "vectors", HashingEmbedder(64)).close()
    with pytest.raises(MemoryStoreError, match="vectors of the embedder") as refused:
        Memory.connect(server, "vectors", HashingEmbedder(32))
    assert "dimension=64" in refused.value.message and refused.value.hint


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(MemoryStoreError, match="No Chroma server answers") as refused:
        Memory.connect("http://127.0.0.1:9", "x", HashingEmbedder(64))
    assert "chroma run" in refused.value.hint
    with pytest.raises(MemoryStoreError, match="no address"):
        Memory.connect("localhost:8000", "x", HashingEmbedder(64))
