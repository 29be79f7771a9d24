"""`pmd bench step`: where the time of whole steps goes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pmd_agent.assembly import step_bench
from pmd_agent.assembly.step_bench import StepCost, _cost, _Seen, measure_whole_steps
from pmd_agent.cli import app
from pmd_agent.console import Console
from pmd_agent.distillation import bench
from pmd_agent.distillation.baselines import Figure
from pmd_agent.errors import RunError
from pmd_agent.models import random_weights
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.types import Rollout, Step


def recipe(**changes: Any) -> Recipe:
    return parse_recipe(
        {
            "problems": {"type": "world", "train": 8, "validation": 0, "test": 40},
            "policy": {"type": "local", "model": "box", "device": "cpu"},
            "rollout": {"problems": 2, "samples": 2, "max_tokens": 6},
            "pipeline": {"max_tokens": 16},
            "distill": {"lora": {"rank": 4, "alpha": 8}},
        }
        | changes,
        "test",
    )


def rollout(tokens: int) -> Rollout:
    return Rollout("r", "p", (1,), (2,) * tokens, (True,) * tokens, (-1.0,) * tokens, "", "stop", 0)


def seen() -> _Seen:
    found = _Seen()
    for number, (wall, attempt) in enumerate([(90.0, 50.0), (10.0, 4.0), (12.0, 6.0), (11.0, 5.0)]):
        metrics = {"stage_seconds": {"attempt": attempt, "distil": 5.0, "sync": 0.5}, "tokens": 30.0}
        found.walls.append(wall)
        found.steps.append(Step(number, 4, metrics, (), ((rollout(10), rollout(20)),), ()))
        found.learnt.append(50.0)
        found.sampled.append(20.0)
    return found


def test_shares_speeds_and_what_no_stage_takes() -> None:
    cost = _cost(seen(), "card", 100.0, ())
    assert cost.step == Figure(11.0, 2.0, 3), "the first step is not measured"
    assert cost.rollouts == 2 and cost.tokens == 30
    attempt, distil, rest = (cost.stages[name] for name in ("attempt", "distil", "commit"))
    assert attempt.seconds.median == 5.0 and attempt.share == pytest.approx(5 / 11)
    assert attempt.tokens_per_second == 6.0 and attempt.mfu == pytest.approx(20 / 5 / 100)
    assert distil.tokens_per_second == 6.0 and distil.mfu == pytest.approx(50 / 5 / 100)
    assert rest.seconds.median == pytest.approx(0.5) and rest.mfu is None
    assert _cost(seen(), "CPU", None, ()).stages["distil"].mfu is None
    assert cost.figures(all_stages=False).keys() == {"step", "attempt", "distil"}, (
        "others are too short to be held to it"
    )
    assert cost.figures(all_stages=True).keys() == {"step", "attempt", "distil", "sync", "commit"}


def test_sampling_reads_a_prompt_once_for_all_of_its_samples() -> None:
    from pmd_agent.distillation.bench import Work, batch_of, sampling_flops, with_adapters
    from pmd_agent.models.loading import load_base

    work = Work(samples=4, prompt=60, teacher_prompt=61, completion=20, rank=4)
    model = with_adapters(load_base("box", device="cpu"), work)
    rows = [e.student_prompt_ids + e.completion_ids for e in batch_of(work, 200)]
    one, four = (sampling_flops(model, rows[:n], 20 * n) for n in (1, 4))
    products, _, head = bench._forward(model, [rows[0][60:]], 20, shared=True)
    assert four - one == pytest.approx(3 * (products + head), rel=0.2) and four < 2.2 * one


def test_whole_steps_of_random_weights_are_measured_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {
        "vocab_size": 1600, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True,
    }  # fmt: skip
    monkeypatch.setitem(random_weights.SHAPES, "tiny", tiny)
    monkeypatch.chdir(tmp_path)
    policy = {"type": "local", "model": "far/away", "device": "cpu"}
    cost = measure_whole_steps(recipe(policy=policy, method="sdpo"), 1, Console(io.StringIO()), shape="tiny")
    assert {"attempt", "verify", "reflect", "distil", "sync", "commit"} <= cost.stages.keys()
    assert cost.rollouts == 4 and 0 < cost.tokens <= 24 and cost.peak is None
    assert sum(stage.share for stage in cost.stages.values()) == pytest.approx(1.0, abs=0.02)
    assert (cost.stages["attempt"].flops or 0) > 0 and cost.stages["distil"].flops == 0, "nobody had a teacher"
    assert not any("test problems are few" in line for line in cost.said)
    assert not list(tmp_path.iterdir())
    json.dumps(cost.record())


def test_several_processes_are_refused() -> None:
    settings = recipe(distill={"parallel": "ddp"})
    with pytest.raises(RunError, match="measures one process"):
        measure_whole_steps(settings, 1, Console(io.StringIO()))


@pytest.mark.parametrize(("seconds", "code"), [(11.5, 0), (13.0, 1)])
def test_a_step_that_takes_ten_percent_more_than_its_baseline_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, code: int
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    costs = [_cost(seen(), "card", 100.0, ("shared no more",))]
    costs.append(StepCost(**{**vars_of(costs[0]), "step": Figure(seconds, 0.1, 3)}))
    monkeypatch.setattr(step_bench, "measure_whole_steps", lambda *_, **__: costs.pop(0))
    file = tmp_path / "card.json"
    command = ["bench", "step", "recipes/quickstart.yaml", "--baseline", str(file)]
    written = CliRunner().invoke(app, [*command, "--write"])
    assert written.exit_code == 0 and json.loads(file.read_text())["machine"] == "card", written.output
    assert "shared no more" in written.output and "attempt" in written.output
    compared = CliRunner().invoke(app, [*command, "--json"])
    assert compared.exit_code == code
    assert json.loads(compared.stdout)["step"]["median"] == seconds
    assert ("1.18 times the baseline's" in compared.stderr) == bool(code)


def vars_of(cost: StepCost) -> dict[str, Any]:
    return {name: getattr(cost, name) for name in StepCost.__dataclass_fields__}
