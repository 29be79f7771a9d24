"""The way back: every step's state can be had again, whatever moment a kill came at."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pmd_agent.memory import Memory
from pmd_agent.memory.backend.collection import IndexedCollection

STEPS = 6


@pytest.fixture(scope="module")
def states(make: SimpleNamespace) -> list[dict[str, Any]]:
    """states[n]: the store before step n, of a run in which nothing went wrong."""
    with Memory.ephemeral(make.TinyEmbedder()) as memory:
        states = [make.dump(memory)]
        for step in range(12):
            make.write_step(memory, step)
            states.append(make.dump(memory))
    # The run must do what the tests are about.
    kinds = {(metadata["tier"], metadata["kind"]) for metadata, *_ in states[STEPS]["archive"].values()}
    assert kinds == {
        ("insight", "strategy"), ("insight", "lesson"), ("behavior", "behavior"), ("experience", "wrong")
    }  # fmt: skip
    assert any("\x10@" in key for key in states[STEPS]["archive"]), "nothing was said again"
    assert all(states[n] != states[n + 1] for n in range(12))
    return states


def test_rollback_brings_back_each_state_exactly(store: Memory, make: SimpleNamespace, states: list[Any]) -> None:
    for step in range(STEPS):
        make.write_step(store, step)
    for step in reversed(range(STEPS + 1)):
        store.rollback(step)
        assert make.dump(store) == states[step]
        store.rollback(step)
        assert make.dump(store) == states[step]


def test_a_step_run_again_gives_the_same_state(store: Memory, make: SimpleNamespace, states: list[Any]) -> None:
    for step in range(STEPS):
        make.write_step(store, step)
    store.rollback(2)
    for step in range(2, STEPS):
        make.write_step(store, step)
    assert make.dump(store) == states[STEPS]


def test_rollback_reaches_tiers_that_are_off(tmp_path: Path, make: SimpleNamespace, states: list[Any]) -> None:
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        for step in range(STEPS):
            make.write_step(memory, step)
    with Memory.open(tmp_path, make.TinyEmbedder(), tiers=["behavior"]) as memory:
        memory.rollback(3)
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        assert make.dump(memory) == states[3]


class Killed(BaseException):
    """Stands for the end of the process between two calls of Chroma."""


def killed_after(calls: int, patch: pytest.MonkeyPatch) -> None:
    """Let so many writing calls through, and end at the next."""
    left = [calls]

    def dying(real: Callable[[IndexedCollection, Any], None]) -> Callable[[IndexedCollection, Any], None]:
        def call(self: IndexedCollection, rows: Any) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            real(self, rows)

        return call

    patch.setattr(IndexedCollection, "upsert", dying(IndexedCollection.upsert))
    patch.setattr(IndexedCollection, "delete", dying(IndexedCollection.delete))


def test_a_kill_between_any_two_calls_is_mended(tmp_path: Path, make: SimpleNamespace, states: list[Any]) -> None:
    step = 5  # one that replaces behaviors too
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        for earlier in range(step):
            make.write_step(memory, earlier)
    moments = 0
    for calls in range(100):
        # Killed in the step, and then once more in the rollback; the open between them repairs what it finds.
        with pytest.MonkeyPatch.context() as patch, Memory.open(tmp_path, make.TinyEmbedder()) as memory:
            killed_after(calls, patch)
            try:
                make.write_step(memory, step)
            except Killed:
                moments += 1
            else:
                break
        with pytest.MonkeyPatch.context() as patch, Memory.open(tmp_path, make.TinyEmbedder()) as memory:
            assert not set(memory._store.archive.rows) & {k for t in memory._store.live.values() for k in t.rows}
            killed_after(calls % 5, patch)
            with suppress(Killed):
                memory.rollback(step)
        with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
            memory.rollback(step)
            assert make.dump(memory) == states[step], f"killed after {calls} calls"
    assert moments > 8
    with Memory.open(tmp_path, make.TinyEmbedder()) as memory:
        memory.rollback(step)
        make.write_step(memory, step)
        assert make.dump(memory) == states[step + 1]


def killed_writers(folder: Path, make: SimpleNamespace, unharmed: Memory, kills: int) -> int:
    """Kill a writing process with signal 9 at random moments, and check what is left each time; the number of steps."""
    rng = random.Random(7)
    next_step = written = 0
    for _ in range(kills):
        command = [sys.executable, str(make.path), str(folder), str(next_step), "1000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=make.env) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            for _ in range(rng.randrange(0, 3)):
                next_step = int(writer.stdout.readline()) + 1
            time.sleep(rng.uniform(0, 0.3))
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:  # steps that it still wrote before the signal came
                next_step = int(line) + 1
        assert writer.returncode == -signal.SIGKILL
        with Memory.open(folder, make.TinyEmbedder()) as memory:
            memory.rollback(next_step)
            found = make.dump(memory)
        for step in range(written, next_step):
            make.write_step(unharmed, step)
        written = max(written, next_step)
        assert found == make.dump(unharmed), f"not the state of step {next_step}"
    return next_step


def test_a_writer_killed_with_signal_9_loses_no_committed_step(tmp_path: Path, make: SimpleNamespace) -> None:
    with Memory.ephemeral(make.TinyEmbedder()) as unharmed:
        assert killed_writers(tmp_path, make, unharmed, kills=3) > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_kills(tmp_path: Path, make: SimpleNamespace) -> None:
    with Memory.ephemeral(make.TinyEmbedder()) as unharmed:
        assert killed_writers(tmp_path, make, unharmed, kills=50) > 25


@pytest.fixture
def store(tmp_path: Path, make: SimpleNamespace) -> Any:
    with Memory.open(tmp_path / "memory", make.TinyEmbedder()) as memory:
        yield memory
