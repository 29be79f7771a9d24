"""Models in one GGUF file, written here tensor by tensor from a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent.console import Console
from pmd_agent.doctor import examine
from pmd_agent.errors import PolicyError
from pmd_agent.models import gguf as module
from pmd_agent.models.gguf import cache, converted_folder, from_gguf, to_convert
from pmd_agent.models.loading import check_model, load_base, load_tokenizer, resolve_model
from pmd_agent.policies.vllm.server_arguments import model_source

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAYER = {
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


@pytest.fixture(scope="module")
def written(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """(the file, the model in it, its tokenizer). The file names `<|endoftext|>` as its end, as some do, and not the turn's."""
    gguf = pytest.importorskip("gguf")
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=False, initializer_range=0.3,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    model.load_state_dict({name: t.bfloat16().float() for name, t in model.state_dict().items()})
    path = tmp_path_factory.mktemp("files") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    vocabulary = json.loads((tiny_folder / "tokenizer.json").read_text())
    ids = tokenizer.get_vocab()
    added = {token["content"] for token in vocabulary["added_tokens"]}
    tokens = sorted(ids, key=ids.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in added else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in vocabulary["model"]["merges"]])
    writer.add_chat_template(TEMPLATE)
    end = next(t for t in sorted(added) if t != "<|im_end|>")
    writer.add_eos_token_id(ids[end])
    writer.add_pad_token_id(ids[end])
    for name, tensor in model.state_dict().items():
        writer.add_tensor(_renamed(name), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, model, tokenizer


def _renamed(name: str) -> str:
    if name in WHOLE:
        return WHOLE[name]
    _, _, number, rest = name.split(".", 3)
    for ours, theirs in LAYER.items():
        if rest.startswith(ours):
            return f"blk.{number}.{rest.replace(ours, theirs)}"
    raise AssertionError(name)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))


def test_a_file_becomes_the_model_that_is_in_it(written: tuple[Path, Any, Any]) -> None:
    path, model, tokenizer = written
    folder = resolve_model(str(path))
    loaded = load_base(str(path), dtype="float32", device="cpu")
    ids = torch.tensor([tokenizer("In the mill, compute 37 zog 14.", add_special_tokens=False).input_ids])
    with torch.no_grad():
        assert torch.allclose(loaded(ids).logits, model(ids).logits, atol=1e-5)
    ours = load_tokenizer(str(path))
    assert ours("In the mill").input_ids == tokenizer("In the mill", add_special_tokens=False).input_ids
    assert model_source(str(path)) == folder and Path(folder).parent == cache() / "gguf"
    assert "quantization_config" not in json.loads((Path(folder) / "config.json").read_text())


def test_the_end_of_a_turn_ends_an_answer_though_the_file_names_another(written: tuple[Path, Any, Any]) -> None:
    path, _, _ = written
    assert load_tokenizer(str(path)).eos_token == "<|im_end|>"
    assert check_model(str(path)) == [], "no answer runs to its limit"
    assert len(json.loads((from_gguf(str(path)) / "generation_config.json").read_text())["eos_token_id"]) == 2


def test_it_is_converted_once_and_that_is_said(written: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = written
    assert to_convert(str(path)) == f"{path} is converted once, to bfloat16 in {converted_folder(str(path))}"
    folder = from_gguf(str(path))
    assert to_convert(str(path)) == "" and [p.name for p in folder.parent.iterdir()] == [folder.name], (
        "no draft is left"
    )
    monkeypatch.setattr(module, "_convert", None)
    assert from_gguf(str(path)) == folder


def test_another_file_under_the_same_name_is_another_model(written: tuple[Path, Any, Any], tmp_path: Path) -> None:
    copy = tmp_path / "tiny.gguf"
    copy.write_bytes(written[0].read_bytes())
    assert converted_folder(str(copy)) == converted_folder(str(written[0])), "wherever it lies"
    copy.write_bytes(copy.read_bytes()[:-4] + b"\0\0\1\1")
    assert converted_folder(str(copy)) != converted_folder(str(written[0]))


def test_a_run_says_that_it_converts(written: tuple[Path, Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    from pmd_agent.assembly.policy import frozen_policy
    from pmd_agent.recipe import parse_recipe
    from pmd_agent.types import Sampling

    recipe = parse_recipe({"policy": {"type": "local", "model": str(written[0]), "dtype": "float32"}})
    policy, context = frozen_policy(recipe, None, Console())
    assert "is converted once" in capsys.readouterr().out and context == 256
    [[answer]] = policy.sample([[{"role": "user", "content": "37 zog 14"}]], 1, Sampling(max_tokens=4))
    assert answer.completion_ids


def test_a_doctor_converts_nothing(written: tuple[Path, Any, Any]) -> None:
    from pmd_agent.recipe import parse_recipe

    recipe = parse_recipe({"policy": {"type": "local", "model": str(written[0])}})
    (found,) = [check for check in examine(recipe=recipe) if check.name == "model"]
    assert found.state == "note" and "is converted once" in found.found
    assert not cache().exists()


def test_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        resolve_model(str(tmp_path / "none.gguf"))
    pytest.importorskip("gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUFnothing")
    with pytest.raises(PolicyError, match="cannot be converted"):
        resolve_model(str(tmp_path / "bad.gguf"))
    assert list((cache() / "gguf").iterdir()) == [], "no draft is left"


def test_without_the_package_its_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(PolicyError, match="needs the `gguf` package") as error:
        resolve_model(str(tmp_path / "some.gguf"))
    assert "pmd-agent[gguf]" in error.value.hint
