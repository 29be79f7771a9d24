"""A tiny real model, made once: a random Qwen3 with the box's tokenizer. One thread, offline, quiet."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pmd_agent.runs.folder import RunDir

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; the models here are too small for more
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="pmd-test-hf-"))
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TEXTS = [
    "In the mill, compute ( 37 zog 14 ) vit 52.",
    "<reasoning> Use zog max: 37 zog 14 = 37. </reasoning>\n<answer> 89 </answer>",
    "Notes from practice. Use what fits the problem and ignore the rest. Never zog add with vit mul.",
]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved causal language model of 2 layers and width 32, with its tokenizer. Its weights are not near zero."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from recipes.box.tokenizer import train_tokenizer

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = train_tokenizer(TEXTS, vocabulary=300, context=256)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            initializer_range=0.3,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_folder: Path) -> Any:
    from pmd_agent.models.loading import load_tokenizer

    return load_tokenizer(str(tiny_folder))


@pytest.fixture(scope="session")
def load_tiny(tiny_folder: Path) -> Callable[[], Any]:
    """load_tiny(): the tiny model anew, with the same weights each time."""
    from pmd_agent.models.loading import load_base

    return lambda: load_base(str(tiny_folder), dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def tiny(load_tiny: Callable[[], Any]) -> Any:
    """The tiny model, shared: for tests that change nothing in it."""
    return load_tiny()


@pytest.fixture
def load_student(load_tiny: Callable[[], Any]) -> Callable[..., Any]:
    """load_student(): the tiny model with adapters whose weights are random (a fresh adapter is none: its B is zero).

    `teacher=True` adds an EMA teacher that differs from the student.
    """
    import torch

    from pmd_agent.models.adapters import STUDENT, TEACHER, adapter_parameters, attach_lora

    def load(*, teacher: bool = False, dropout: float = 0.0) -> Any:
        model = attach_lora(
            load_tiny(), rank=4, alpha=8, dropout=dropout, targets="all-linear", seed=0, teacher=teacher
        )
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for adapter in (STUDENT, TEACHER):
                for parameter in adapter_parameters(model, adapter).values():
                    parameter.normal_(0.0, 0.1, generator=generator)
        return model.eval()

    return load


@pytest.fixture
def run_with_adapter(tmp_path: Path, load_student: Callable[..., Any]) -> Callable[..., RunDir]:
    """run_with_adapter("box" or a folder): a run with an adapter of random weights."""

    def make(model: str, **policy: str) -> RunDir:
        from pmd_agent.recipe import parse_recipe
        from pmd_agent.runs.folder import RunDir

        section = {"type": "local", "model": model, **policy}
        run = RunDir.create(parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), "policy": section}))
        student = load_student()
        student.save_pretrained(str(run.path / "saved"), selected_adapters=["student"])
        (run.path / "saved" / "student").rename(run.adapter_path)
        return run

    return make
