"""Loading models, and what is said when that fails."""

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
from pmd_agent.models.loading import check_model, choose_device, choose_dtype, load_base, load_tokenizer, resolve_model

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny model's folder, to be damaged."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


# --- names ------------------------------------------------------------------------------------------------------------


def test_box_is_a_folder_and_other_names_stay(tiny_folder: Path) -> None:
    assert Path(resolve_model("box")).parts[-3:] == ("pmd_agent", "models", "box")
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


def lose_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def unknown_kind(folder: Path) -> None:
    change(folder, model_type="frob")


def other_width(folder: Path) -> None:
    change(folder, intermediate_size=48)


@pytest.mark.parametrize("damage", [cut_weights, lose_weights, lose_a_tensor, break_config, unknown_kind, other_width])
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


def test_a_model_with_code_of_its_own_is_refused_without_a_question(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    change(copied, model_type="frob", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    (copied / "own.py").write_text("raise SystemExit('it ran')")
    for load in (load_base, check_model):
        with pytest.raises(PolicyError, match="program code of its own"):
            load(str(copied))


def test_a_sound_model_has_nothing_odd(tiny_folder: Path) -> None:
    assert check_model(str(tiny_folder)) == [] == check_model("box")


@pytest.mark.parametrize("ids", [None, [], -1, 10_000])
def test_a_model_without_an_end_is_refused(copied: Path, ids: Any) -> None:
    """Also where its end is an id that no token has."""
    change(copied, eos_token_id=ids)
    (copied / "generation_config.json").unlink()
    file = copied / "tokenizer_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in config.items() if key not in ("eos_token", "pad_token")}))
    with pytest.raises(PolicyError, match="no end-of-sequence token") as error:
        check_model(str(copied))
    assert "eos_token" in error.value.hint


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


def test_the_first_line_of_an_error() -> None:
    assert loading.first_line(ValueError("\n  one \ntwo")) == "one"
    assert loading.first_line(KeyError()) == "KeyError"
