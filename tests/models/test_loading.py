"""Loading models and adapters, choosing whose weights answer, and what is said when that fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent.errors import PolicyError
from pmd_agent.models import loading
from pmd_agent.models.adapters import (
    STUDENT,
    TEACHER,
    adapter_parameters,
    answering_as,
    attach_lora,
    copy_adapter,
    load_adapter,
)
from pmd_agent.models.loading import choose_device, choose_dtype, load_base, load_tokenizer, resolve_model

Load = Callable[..., Any]
LORA: dict[str, Any] = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear", "seed": 0, "teacher": True}
SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny model's folder, to be damaged."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


# --- names ------------------------------------------------------------------------------------------------------------


def test_box_is_a_folder_and_other_names_stay(tiny_folder: Path) -> None:
    assert Path(resolve_model("box")).parts[-2:] == ("box", "policy")
    for name in ("Qwen/Qwen3-8B", "Qwen/Qwen2.5-7B", "gpt2", str(tiny_folder)):
        assert resolve_model(name) == name


@pytest.mark.parametrize("name", ["/no/such/folder", "~/no/model", "model.bin", "../no/such/folder"])
def test_a_folder_that_is_missing(name: str) -> None:
    with pytest.raises(PolicyError, match="no model folder") as error:
        resolve_model(name)
    assert error.value.hint


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"without config\.json") as error:
        load_base(str(tmp_path))
    assert "policy.model" in error.value.hint


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_frozen_and_in_evaluation_mode(tiny_folder: Path) -> None:
    model = load_base(str(tiny_folder), dtype="bfloat16", device="cpu")
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def make_bert(folder: Path) -> None:
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**SMALL)).save_pretrained(folder)


def make_masked_bert(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(BertConfig(**SMALL)).save_pretrained(folder)


def make_t5(folder: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(folder)


def make_headless(folder: Path) -> None:
    from transformers import Qwen3Config, Qwen3Model

    Qwen3Model(Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=8)).save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_bert, "BertModel.*no head"),
        (make_masked_bert, "BertForMaskedLM"),
        (make_t5, "t5 model.*cannot write"),
        (make_headless, "Qwen3Model.*no head"),
    ],
)
def test_a_model_that_cannot_write_is_refused(make: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    make(tmp_path / "model")
    with pytest.raises(PolicyError, match=said) as error:
        load_base(str(tmp_path / "model"), device="cpu")
    assert error.value.hint


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def change(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def unknown_kind(folder: Path) -> None:
    change(folder, model_type="frob")


def other_width(folder: Path) -> None:
    change(folder, intermediate_size=48)


@pytest.mark.parametrize("damage", [cut_weights, lose_weights, break_config, unknown_kind, other_width])
def test_a_damaged_model_is_an_error_to_mend(damage: Callable[[Path], None], copied: Path) -> None:
    damage(copied)
    with pytest.raises(PolicyError, match="cannot be loaded") as error:
        load_base(str(copied), device="cpu")
    assert "\n" not in error.value.message


def test_a_hub_model_out_of_reach() -> None:
    with pytest.raises(PolicyError, match="cannot be loaded") as error:
        load_base("nobody/no-such-model", device="cpu")
    assert "can reach" in error.value.hint


def test_a_tokenizer_without_a_chat_template(copied: Path) -> None:
    assert load_tokenizer(str(copied)).chat_template
    (copied / "chat_template.jinja").unlink()
    with pytest.raises(PolicyError, match="no chat template"):
        load_tokenizer(str(copied))
    (copied / "tokenizer.json").write_text("{")
    with pytest.raises(PolicyError, match=r"tokenizer of .* cannot be loaded"):
        load_tokenizer(str(copied))


def test_devices_and_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(PolicyError, match="no GPU"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert choose_dtype("float32", torch.device("cuda")) == torch.float32


# --- adapters ---------------------------------------------------------------------------------------------------------


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

    narrow = Qwen3Config(**(SMALL | {"num_hidden_layers": 2}), num_key_value_heads=2, head_dim=8)
    for other in (
        Qwen3ForCausalLM(narrow),
        GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)),
    ):
        with pytest.raises(PolicyError, match="does not fit this model") as error:
            load_adapter(other, adapter)
        assert "trained on" in error.value.hint


def test_the_first_line_of_an_error() -> None:
    assert loading.first_line(ValueError("\n  one \ntwo")) == "one"
    assert loading.first_line(KeyError()) == "KeyError"
