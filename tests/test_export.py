"""Exports: plain peft and transformers answer as the run's policy did, in other processes and places."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent import export as module
from pmd_agent.errors import PolicyError, RunError
from pmd_agent.export import export_run
from pmd_agent.recipe import parse_recipe
from pmd_agent.runs.folder import RunDir


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(5, 25)[None]).logits.float()


def test_an_adapter_answers_as_the_policy_did(
    run_with_adapter: Callable[..., RunDir], load_student: Callable[..., Any], tiny_folder: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = export_run(run_with_adapter(str(tiny_folder)), tmp_path / "out")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_folder.resolve())
    base = AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])
    before = logits(base)
    found = logits(PeftModel.from_pretrained(base, str(folder)).eval())
    assert torch.allclose(found, logits(load_student()), atol=1e-5) and not torch.allclose(found, before, atol=1e-2)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert {p.name for p in tmp_path.iterdir()} == {"runs", "out"}


def test_whole_weights_answer_as_the_policy_did(
    run_with_adapter: Callable[..., RunDir], load_student: Callable[..., Any], tiny_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = export_run(run_with_adapter(str(tiny_folder), dtype="float32"), tmp_path / "out", merge=True)
    assert not (folder / "adapter_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.allclose(logits(model), logits(load_student()), atol=1e-4)
    assert model.generation_config.eos_token_id == AutoTokenizer.from_pretrained(folder).eos_token_id
    assert "float32" in (folder / "README.md").read_text()
    merge = json.loads((folder / "certificate.json").read_text())["merge"]
    assert merge["same"] and merge["difference"] <= merge["allowed"] < merge["effect"]


def test_a_merge_that_changes_what_is_said_is_no_export(
    run_with_adapter: Callable[..., RunDir], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peft.PeftModel.merge_and_unload", lambda self, **_: self.unload(), raising=False)
    with pytest.raises(RunError, match="logits differ by") as caught:
        export_run(run_with_adapter(str(tiny_folder), dtype="float32"), tmp_path / "out", merge=True)
    assert "--merge" in caught.value.hint and not (tmp_path / "out").exists()


@pytest.mark.parametrize("merge", [False, True])
def test_an_adapter_that_does_not_fit_is_no_export(
    merge: bool, run_with_adapter: Callable[..., RunDir], tiny_folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    run = run_with_adapter(str(tiny_folder))
    file = run.adapter_path / "adapter_model.safetensors"
    save_file(dict(list(load_file(file).items())[1:]), file)
    with pytest.raises(PolicyError, match="1 place of the model without a tensor"):
        export_run(run, tmp_path / "out", merge=merge)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("merge", [False, True])
def test_the_box_travels_with_its_adapter(
    merge: bool,
    run_with_adapter: Callable[..., RunDir],
    load_student: Callable[..., Any],
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pmd_agent.models.loading.box_path", lambda: tiny_folder)
    monkeypatch.setattr(module, "box_path", lambda: tiny_folder)
    run = run_with_adapter("box", dtype="float32")
    folder = export_run(run, tmp_path / "box one", merge=merge)
    moved = folder.rename(tmp_path / "moved")
    readme = (moved / "README.md").read_text()
    loading, asking = (block.split("```")[0] for block in readme.split("```python\n")[1:])
    scope: dict[str, Any] = {}
    exec(loading.replace('"box one"', repr(str(moved))), scope)
    exec(asking.replace("256", "8"), scope)
    assert scope["answer"].shape[1] > scope["prompt"]["input_ids"].shape[1]
    assert torch.allclose(logits(scope["model"].eval()), logits(load_student()), atol=1e-4)
    assert scope["tokenizer"].chat_template
    assert str(tiny_folder) not in "".join(p.read_text() for p in moved.glob("*.json"))


def test_what_cannot_be_exported(run_with_adapter: Callable[..., RunDir], tiny_folder: Path, tmp_path: Path) -> None:
    run = run_with_adapter(str(tiny_folder))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    for taken in (tmp_path / "taken", tmp_path / "taken" / "file"):
        with pytest.raises(RunError, match="nothing is overwritten"):
            export_run(run, taken)
    assert (tmp_path / "taken" / "file").read_text() == "mine"
    (run.adapter_path / "adapter_config.json").unlink()
    with pytest.raises(RunError, match="no adapter") as caught:
        export_run(run, tmp_path / "out")
    assert "--resume" in caught.value.hint and not (tmp_path / "out").exists()
    recipe = parse_recipe({"name": "two", "runs": str(tmp_path / "runs"), "policy": {"type": "scripted"}})
    with pytest.raises(RunError, match="scripted policy"):
        export_run(RunDir.create(recipe), tmp_path / "out")


def test_an_export_that_fails_leaves_nothing(
    run_with_adapter: Callable[..., RunDir], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with_adapter(str(tiny_folder))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "adapter_card", full)
    with pytest.raises(RunError, match="No space left"):
        export_run(run, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_empty_folder_is_free(run_with_adapter: Callable[..., RunDir], tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (export_run(run_with_adapter(str(tiny_folder)), tmp_path / "out") / "README.md").is_file()


@pytest.mark.parametrize("merge", [False, True])
def test_a_hub_can_read_the_model_card(
    merge: bool, run_with_adapter: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import ModelCard

    from pmd_agent.reports import model_card

    found = {"memory_free": {"after": 0.75, "before": 0.5, "by_kind": {}}, "test": {"problems": 4}}
    monkeypatch.setattr(model_card, "sentences", lambda _: ["Without memory: 75.0%."])
    recipe = run_with_adapter("someone/model-1b").recipe
    text = (
        model_card.merged_card(recipe, 3, found=found, folder="out", dtype="float32")
        if merge
        else model_card.adapter_card(recipe, 3, found=found, folder="out", base="someone/model-1b", dtype="float32")
    )
    data = ModelCard(text).data
    assert data.base_model == "someone/model-1b" and data.library_name == ("transformers" if merge else "peft")
    assert data.pipeline_tag == "text-generation" and {"pmd", "self-distillation"} < set(data.tags or [])
    (result,) = data.eval_results or []
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", 0.75, "sciknoweval")
