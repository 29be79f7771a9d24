"""The adapter of a run: its own, or out of the newest checkpoint that is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent.assembly.parts import load_state
from pmd_agent.distillation.build import build_trainer
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.errors import PolicyError, RunError
from pmd_agent.models.adapters import load_adapter
from pmd_agent.models.run_adapter import RunAdapter, adapter_of
from pmd_agent.recipe import LocalPolicySection, parse_recipe
from pmd_agent.runs.folder import RunDir

Logits = Callable[[Path], torch.Tensor]


@pytest.fixture
def begun(tmp_path: Path, tiny_folder: Path, tokenizer: Any) -> tuple[RunDir, Trainer]:
    """A run of two committed steps, whose weights are other ones after each, and that has not ended."""
    policy = {"type": "local", "model": str(tiny_folder), "device": "cpu"}
    recipe = parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), "steps": 3, "policy": policy})
    assert isinstance(recipe.policy, LocalPolicySection)
    trainer = build_trainer(recipe, recipe.policy, tokenizer)
    run = RunDir.create(recipe)
    for step in range(2):
        torch.manual_seed(step)
        with torch.no_grad():
            for parameter in trainer._parameters:
                parameter.normal_(0.0, 0.1)
        run.commit(step, {}, [], trainer.save)
    return run, trainer


@pytest.fixture
def logits(load_tiny: Callable[[], Any]) -> Logits:
    def of(adapter: Path) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = load_adapter(load_tiny(), adapter)(torch.arange(5, 25)[None]).logits
            return found

    return of


def end(run: RunDir, trainer: Trainer) -> None:
    run.write_folder("adapter", trainer.save_adapter)
    run.write_json("summary.json", {"steps": 2})


def found_in(run: RunDir, logits: Logits) -> tuple[RunAdapter, torch.Tensor, list[str]]:
    said: list[str] = []
    with adapter_of(RunDir.open(run.path), "do without", said.append) as found:
        assert found is not None
        return found, logits(found.folder), said


def test_a_run_that_has_not_ended_answers_as_of_its_last_commit(begun: tuple[RunDir, Trainer], logits: Logits) -> None:
    run, trainer = begun
    before = sorted(p.name for p in run.path.rglob("*"))
    found, answered, said = found_in(run, logits)
    assert found.step == 2 and not found.folder.exists() and sorted(p.name for p in run.path.rglob("*")) == before
    assert len(said) == 1 and "has not ended: the adapter is that of step-000002" in said[0]
    end(run, trainer)
    own, wanted, said = found_in(run, logits)
    assert own == RunAdapter(run.adapter_path, 2) and said == []
    assert torch.equal(answered, wanted)


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_damaged_adapter_is_made_again_from_a_checkpoint(
    begun: tuple[RunDir, Trainer], logits: Logits, file: str, gone: bool
) -> None:
    run, trainer = begun
    end(run, trainer)
    _, wanted, _ = found_in(run, logits)
    path = run.adapter_path / file
    path.unlink() if gone else path.write_bytes(path.read_bytes()[:-5])
    found, answered, said = found_in(run, logits)
    assert found.step == 2 and torch.equal(answered, wanted)
    assert len(said) == 1 and "adapter is damaged" in said[0] and file in said[0]


def test_the_checkpoint_before_and_then_none(begun: tuple[RunDir, Trainer], logits: Logits) -> None:
    run, trainer = begun
    _, newest, _ = found_in(run, logits)
    assert run.checkpoint is not None
    (run.checkpoint / "trainer.pt").write_bytes(b"")
    found, older, said = found_in(run, logits)
    assert found.step == 1 and not torch.equal(older, newest)
    assert len(said) == 2 and "step-000002 is damaged" in said[0] and "step-000001" in said[1]
    (run.path / "checkpoints" / "step-000001" / "trainer.pt").unlink()
    with pytest.raises(RunError, match=r"has no adapter yet.*\n.*or do without") as caught:
        found_in(run, logits)
    assert "--resume" in caught.value.hint
    end(run, trainer)
    (run.adapter_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"adapter is damaged: .*no checkpoint is whole"):
        found_in(run, logits)


def test_what_learns_nothing_has_none(tmp_path: Path) -> None:
    recipe = parse_recipe({"name": "two", "runs": str(tmp_path), "policy": {"type": "scripted"}})
    with adapter_of(RunDir.create(recipe), "", lambda text: None) as found:
        assert found is None


def test_state_that_cannot_be_read_is_one_error(begun: tuple[RunDir, Trainer]) -> None:
    run, trainer = begun
    assert run.checkpoint is not None
    (run.checkpoint / "trainer.pt").write_bytes(b"PK")
    with pytest.raises(RunError, match="step-000002 is damaged"):
        load_state(trainer, run.checkpoint)


def test_another_models_adapter_is_no_damage(begun: tuple[RunDir, Trainer]) -> None:
    """What somebody has put there is refused, and the checkpoint's not taken in its place without a question."""
    from safetensors.torch import load_file, save_file

    run, trainer = begun
    end(run, trainer)
    file = run.adapter_path / "adapter_model.safetensors"
    tensors = {name.replace("layers.0", "blocks.0"): tensor for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(PolicyError, match="does not fit"), adapter_of(RunDir.open(run.path), "do without", print):
        pass
