"""Adapters: fresh and saved ones, whose weights answer, and those that do not fit."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pmd_agent.errors import PolicyError
from pmd_agent.models.adapters import (
    STUDENT,
    TEACHER,
    adapter_parameters,
    answering_as,
    attach_lora,
    check_adapter,
    copy_adapter,
    load_adapter,
)
from pmd_agent.models.loading import load_base

Load = Callable[..., Any]
Tensors = dict[str, torch.Tensor]
LORA: dict[str, Any] = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear", "seed": 0, "teacher": True}
IDS = torch.tensor([[5, 6, 7, 8]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def test_a_fresh_adapter_changes_nothing_and_is_the_teachers_too(load_tiny: Load) -> None:
    model = attach_lora(load_tiny(), **LORA)
    expected = logits(load_tiny())
    for who in ("current", "initial", "ema"):
        with answering_as(model, who):
            assert torch.equal(logits(model), expected)
    student, teacher = adapter_parameters(model, STUDENT), adapter_parameters(model, TEACHER)
    assert student.keys() == teacher.keys() and len(student) == 28
    assert all(torch.equal(p, teacher[name]) for name, p in student.items())
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        name for name, _ in model.named_parameters() if f".{STUDENT}." in name
    }


def test_an_adapter_follows_from_its_seed(load_tiny: Load) -> None:
    def made(seed: int) -> dict[str, Any]:
        torch.rand(seed + 1)
        return dict(adapter_parameters(attach_lora(load_tiny(), **(LORA | {"seed": seed})), STUDENT))

    first, again, other = made(0), made(0), made(1)
    assert all(torch.equal(p, again[name]) for name, p in first.items())
    assert any(not torch.equal(p, other[name]) for name, p in first.items())


def test_adapters_are_float32_on_a_bfloat16_base(tiny_folder: Path) -> None:
    model = attach_lora(load_base(str(tiny_folder), dtype="bfloat16", device="cpu"), **LORA)
    for adapter in (STUDENT, TEACHER):
        assert {p.dtype for p in adapter_parameters(model, adapter).values()} == {torch.float32}


def test_no_teacher_where_none_is_asked_for(load_tiny: Load) -> None:
    model = attach_lora(load_tiny(), **(LORA | {"teacher": False}))
    assert adapter_parameters(model, TEACHER) == {}


def test_targets_are_modules_of_the_model(load_tiny: Load) -> None:
    model = attach_lora(load_tiny(), **(LORA | {"targets": ("q_proj", "v_proj")}))
    assert all("q_proj" in name or "v_proj" in name for name in adapter_parameters(model, STUDENT))
    with pytest.raises(PolicyError, match="LoRA does not fit") as error:
        attach_lora(load_tiny(), **(LORA | {"targets": ("frob",)}))
    assert "distill.lora.targets" in error.value.hint


def test_everyone_answers_with_weights_of_their_own(load_student: Load, load_tiny: Load) -> None:
    model = load_student(teacher=True)
    student = logits(model)
    with answering_as(model, "current"):
        assert torch.equal(logits(model), student)
    with answering_as(model, "initial"):
        torch.testing.assert_close(logits(model), logits(load_tiny()))
    with answering_as(model, "ema"):
        teacher = logits(model)
    assert not torch.allclose(teacher, student, atol=0.1)
    copy_adapter(model, TEACHER, STUDENT)
    assert torch.equal(logits(model), teacher)


@pytest.mark.parametrize("who", ["initial", "current", "ema"])
def test_afterwards_the_student_answers_and_learns_again(load_student: Load, who: Any) -> None:
    model = load_student(teacher=True)
    before = logits(model)
    with pytest.raises(RuntimeError, match="inside"), answering_as(model, who):
        raise RuntimeError("inside")
    assert torch.equal(logits(model), before)
    assert all(p.requires_grad for p in adapter_parameters(model, STUDENT).values())
    assert not any(p.requires_grad for p in adapter_parameters(model, TEACHER).values())


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.9, 1.0])
def test_copying_at_a_rate(load_student: Load, rate: float) -> None:
    model = load_student(teacher=True)
    student = {name: p.detach().clone() for name, p in adapter_parameters(model, STUDENT).items()}
    teacher = {name: p.detach().clone() for name, p in adapter_parameters(model, TEACHER).items()}
    copy_adapter(model, STUDENT, TEACHER, rate)
    for name, p in adapter_parameters(model, TEACHER).items():
        torch.testing.assert_close(p.detach(), (1 - rate) * teacher[name] + rate * student[name], rtol=0, atol=1e-7)
    for name, p in adapter_parameters(model, STUDENT).items():
        assert torch.equal(p, student[name])


@pytest.fixture
def adapter(load_student: Load, tmp_path: Path) -> Path:
    load_student().save_pretrained(tmp_path / "saved", selected_adapters=[STUDENT])
    return tmp_path / "saved" / STUDENT


def test_a_saved_adapter_answers_as_it_did(adapter: Path, load_student: Load, load_tiny: Load) -> None:
    loaded = load_adapter(load_tiny(), adapter)
    assert torch.equal(logits(loaded.eval()), logits(load_student()))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_no_adapter_where_one_is_expected(tmp_path: Path, load_tiny: Load) -> None:
    with pytest.raises(PolicyError, match="holds no adapter"):
        load_adapter(load_tiny(), tmp_path)


def cut_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"short")


def lose_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def break_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


@pytest.mark.parametrize("damage", [cut_adapter, lose_adapter, break_adapter])
def test_a_damaged_adapter_is_an_error_to_mend(damage: Callable[[Path], None], adapter: Path, load_tiny: Load) -> None:
    damage(adapter)
    with pytest.raises(PolicyError, match="does not fit this model"):
        load_adapter(load_tiny(), adapter)


def test_an_adapter_of_another_model_is_refused(adapter: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

    narrow = Qwen3Config(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        num_key_value_heads=2,
        head_dim=8,
    )
    for other in (
        Qwen3ForCausalLM(narrow),
        GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)),
    ):
        with pytest.raises(PolicyError, match="does not fit this model") as error:
            load_adapter(other, adapter)
        assert "trained on" in error.value.hint


# --- adapters that do not fit -----------------------------------------------------------------------------------------


def renamed(tensors: Tensors) -> Tensors:
    return {name.replace(".model.layers.", ".model.language_model.layers."): t for name, t in tensors.items()}


def halved(tensors: Tensors) -> Tensors:
    return {name: tensors[name] for name in sorted(tensors)[: len(tensors) // 2]}


def one_less(tensors: Tensors) -> Tensors:
    return dict(sorted(tensors.items())[1:])


def one_more(tensors: Tensors) -> Tensors:
    return tensors | {"base_model.model.model.layers.7.mlp.up_proj.lora_A.weight": torch.zeros(4, 32)}


def none(tensors: Tensors) -> Tensors:
    return {}


def without_prefix(tensors: Tensors) -> Tensors:
    return {name.removeprefix("base_model.model."): t for name, t in tensors.items()}


def other_rank(tensors: Tensors) -> Tensors:
    return {name: t[:2] if "lora_A" in name else t[:, :2].contiguous() for name, t in tensors.items()}


def not_finite(tensors: Tensors) -> Tensors:
    name = min(tensors)
    return tensors | {name: torch.full_like(tensors[name], float("nan"))}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (renamed, "28 tensors without a place in the model .*, and 28 places of the model without a tensor"),
        (halved, "14 places of the model without a tensor"),
        (one_less, "1 place of the model without a tensor"),
        (one_more, "1 tensor without a place in the model"),
        (none, "28 places of the model without a tensor"),
        (without_prefix, "without a place"),
        (other_rank, "size mismatch|loading state_dict"),
        (not_finite, "1 tensor with numbers that are not finite"),
    ],
)
def test_tensors_and_places_that_do_not_meet(
    damage: Callable[[Tensors], Tensors], said: str, adapter: Path, load_tiny: Load, tiny_folder: Path
) -> None:
    """With the model's weights and without."""
    file = adapter / "adapter_model.safetensors"
    save_file(damage(load_file(file)), file)
    for check in (lambda: load_adapter(load_tiny(), adapter), lambda: check_adapter(str(tiny_folder), adapter)):
        with pytest.raises(PolicyError, match=said) as error:
            check()
        assert "\n" not in error.value.message and "trained on" in error.value.hint


def test_a_config_for_other_modules(adapter: Path, load_tiny: Load) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"target_modules": ["q_proj"]}))
    with pytest.raises(PolicyError, match="24 tensors without a place in the model"):
        load_adapter(load_tiny(), adapter)


def test_pickled_weights_are_not_read(adapter: Path, load_tiny: Load, tiny_folder: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    for check in (lambda: load_adapter(load_tiny(), adapter), lambda: check_adapter(str(tiny_folder), adapter)):
        with pytest.raises(PolicyError, match="pickled") as error:
            check()
        assert "safetensors" in error.value.hint


def test_an_adapter_of_another_kind(load_tiny: Load, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    get_peft_model(load_tiny(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)).save_pretrained(
        tmp_path
    )
    with pytest.raises(PolicyError, match="pmd reads LoRA"):
        load_adapter(load_tiny(), tmp_path)


def test_one_that_fits_is_let_through(adapter: Path, tiny_folder: Path, load_tiny: Load, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_adapter(str(tiny_folder), adapter)
    whole = attach_lora(load_tiny(), **(LORA | {"targets": ("embed_tokens", "lm_head", "q_proj"), "teacher": False}))
    whole.save_pretrained(tmp_path / "whole", selected_adapters=[STUDENT], save_embedding_layers=True)
    check_adapter(str(tiny_folder), tmp_path / "whole" / STUDENT)
    shutil.rmtree(tmp_path / "whole")
