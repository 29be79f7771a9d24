"""Merged weights say what base and adapter say together, also where head and embeddings were one matrix."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent.models import merge_adapter
from pmd_agent.models.adapters import STUDENT, adapter_parameters, attach_lora, load_adapter
from pmd_agent.models.loading import load_base


@pytest.fixture(scope="module")
def tied_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with one matrix for head and embeddings."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("tied") / "model"))
    torch.manual_seed(0)
    Qwen3ForCausalLM(Qwen3Config.from_pretrained(tiny_folder, tie_word_embeddings=True)).save_pretrained(folder)
    return folder


def adapter_of(folder: Path, to: Path, *targets: str, size: float = 0.1) -> Path:
    """An adapter on these modules with random weights."""
    model = attach_lora(
        load_base(str(folder), dtype="float32", device="cpu"),
        rank=4, alpha=8, dropout=0.0, targets=targets, seed=0, teacher=False,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter_parameters(model, STUDENT).values():
            parameter.normal_(0.0, size, generator=generator)
    model.save_pretrained(to, selected_adapters=[STUDENT], save_embedding_layers=False)
    return to / STUDENT


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(5, 45)[None]).logits
    return found


TARGETS = [
    ("q_proj", "up_proj"),
    ("lm_head", "q_proj"),
    ("embed_tokens", "q_proj"),
    ("lm_head", "embed_tokens"),
]


@pytest.mark.parametrize("targets", TARGETS)
def test_one_matrix_for_head_and_embeddings(targets: tuple[str, ...], tied_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    adapter = adapter_of(tied_folder, tmp_path / "adapter", *targets)
    found = merge_adapter.merge_into(tmp_path / "merged", str(tied_folder), adapter, dtype="float32")
    base = load_base(str(tied_folder), dtype="float32", device="cpu")
    before = logits(base)
    wanted = logits(load_adapter(base, adapter))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged), wanted, rtol=0, atol=1e-4)
    assert (wanted - before).abs().max() > 0.1, "an adapter that does nothing would prove nothing"
    assert found["same"] and found["difference"] < 1e-4 < 0.1 < found["effect"]
    assert merged.config.tie_word_embeddings is (targets == TARGETS[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings")
def test_a_wrong_merge_is_seen(dtype: str, tied_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = adapter_of(tied_folder, tmp_path / "adapter", "lm_head", "q_proj")
    assert merge_adapter.merge_into(tmp_path / "right", str(tied_folder), adapter, dtype=dtype)["same"]
    monkeypatch.setattr(merge_adapter, "_untie", lambda adapted: None)
    assert not merge_adapter.merge_into(tmp_path / "wrong", str(tied_folder), adapter, dtype=dtype)["same"]


def test_numbers_that_are_none_are_not_the_same() -> None:
    assert merge_adapter._apart([torch.tensor([1.0])], [torch.tensor([float("nan")])]) == float("inf")
