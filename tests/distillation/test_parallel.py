"""Two processes learn what one learns, to 1e-4 over 20 steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from pmd_agent.distillation.batches import by_objective, length, shares
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.parallel import Team, joined
from pmd_agent.errors import RunError

STEPS = Path(__file__).with_name("parallel_steps.py")


@pytest.fixture(scope="module")
def reports(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What one process, and two by either way, report of the same 20 steps."""
    out = tmp_path_factory.mktemp("parallel")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    for how, kind in (([], "none"), (launcher, "ddp"), (launcher, "fsdp")):
        done = subprocess.run(
            [sys.executable, *how, str(STEPS), str(tiny_folder), str(out), kind],
            capture_output=True, text=True, env=environment, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
    return out, {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns(reports: tuple[Path, dict[str, Any]], kind: str) -> None:
    out, found = reports
    alone = found["none-0"]
    assert alone["size"] == 1
    for rank in (0, 1):
        seen = found[f"{kind}-{rank}"]
        assert seen["size"] == 2
        sharded = kind == "fsdp"
        assert seen["parameter"] == seen["base"] == ("DTensor" if sharded else "Parameter")
        assert seen["held"] == alone["held"] // (2 if sharded else 1)
    together = found[f"{kind}-0"]
    assert together["gain"] == pytest.approx(alone["gain"], abs=1e-4)
    assert together["ratios"] == pytest.approx(alone["ratios"], abs=1e-3) and len(alone["ratios"]) == 7
    assert len(together["reports"]) == len(alone["reports"]) == 20
    for one, two in zip(alone["reports"], together["reports"], strict=True):
        assert two == pytest.approx(one, abs=1e-4)
    losses = [report["loss"] for report in alone["reports"]]
    assert max(losses) - min(losses) > 0.1, "a curve that could differ"
    expected = load_file(out / "none-adapter" / "adapter_model.safetensors")
    learnt = load_file(out / f"{kind}-adapter" / "adapter_model.safetensors")
    assert expected.keys() == learnt.keys()
    assert max((learnt[name] - expected[name]).abs().max().item() for name in expected) < 1e-3


def example(prompt: int, answer: int, advantage: float | None = None) -> Example:
    return Example((prompt,) * 3, (9,) * 4, (prompt, *range(answer)), (True,) * (answer + 1), (), True, 1.0, advantage)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30)), max_size=12), st.integers(1, 5), st.booleans())
def test_every_example_is_one_processs(sizes: list[tuple[int, int]], parts: int, shared: bool) -> None:
    examples = [example(*size) for size in sizes]
    found = shares(examples, parts, shared=shared)
    assert len(found) == parts
    assert sorted(map(hash, examples)) == sorted(hash(e) for part in found for e in part)
    if examples and not shared:
        fair, longest = sum(map(length, examples)) / parts, max(map(length, examples))
        assert max(sum(map(length, part)) for part in found) <= fair + longest


def test_objectives_are_told_apart() -> None:
    taught, reinforced = example(1, 2), example(1, 2, advantage=0.5)
    assert by_objective([taught, reinforced, taught]) == [[reinforced], [taught, taught]]
    assert by_objective([]) == []


def test_one_process_alone_is_a_team() -> None:
    team = Team()
    assert team.leads and not team.even and team.sum([1.0, 2.0]) == [1.0, 2.0] and team.scale == 1
    team.tell("nobody hears")
    with joined("none") as alone:
        assert alone.size == 1


def test_what_torchrun_is_missing_or_too_much_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="started alone") as error, joined("ddp"):
        pass
    assert "torchrun" in error.value.hint
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(RunError, match="torchrun started 4 processes"), joined("none"):
        pass
