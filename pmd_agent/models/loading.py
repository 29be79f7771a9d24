"""Models and adapters: loading them, and choosing whose weights answer.

One copy of the base serves everyone. The student is the PEFT adapter `student`, an EMA teacher the adapter `teacher`, the
initial policy the base with adapters switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from pmd_agent.errors import PolicyError
from pmd_agent.models import BOX, box_path

STUDENT, TEACHER = "student", "teacher"
Weights = Literal["initial", "current", "ema"]
"""Whose weights answer: the base alone, the student, or the EMA teacher."""


def resolve_model(name: str) -> str:
    """`box` becomes a folder; a folder or hub id stays. Raises PolicyError for a folder that is not a model."""
    if name == BOX:
        return str(box_path())
    path = Path(name)
    if path.is_dir() and not (path / "config.json").is_file():
        raise PolicyError(
            f"{name} is a folder without config.json, so no model can be loaded from it.",
            "Set policy.model to a model folder, a hub id, or box.",
        )
    if (name.startswith((".", "/", "~")) or path.suffix) and not path.exists() and name.count("/") != 1:
        raise PolicyError(f"There is no model folder {name}.", "Set policy.model to a model folder, a hub id, or box.")
    return name


def load_tokenizer(name: str) -> Any:
    """The tokenizer, with a chat template. Raises PolicyError."""
    from transformers import AutoTokenizer

    source = resolve_model(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise _load_error(name, "tokenizer", error) from None
    if not tokenizer.chat_template:
        raise PolicyError(
            f"The tokenizer of {name} has no chat template, so prompts cannot be put to it.",
            "Choose an instruction-tuned model.",
        )
    return tokenizer


def read_limits(name: str, tokenizer: Any) -> tuple[int, list[int]]:
    """The tokens that a model reads and writes in all, and the ids that end an answer; no weights are read. Raises PolicyError."""
    from transformers import AutoConfig, GenerationConfig

    source = resolve_model(name)
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise _load_error(name, "configuration", error) from None
    try:
        configured = GenerationConfig.from_pretrained(source).eos_token_id
    except (OSError, ValueError):
        configured = config.eos_token_id
    found = configured if isinstance(configured, list) else [configured]
    ids = [i for i in dict.fromkeys([*found, tokenizer.eos_token_id]) if i is not None]
    return int(getattr(config, "max_position_embeddings", 0) or 1 << 30), ids


def load_base(name: str, *, dtype: str = "auto", device: str = "auto") -> Any:
    """The causal language model, in evaluation mode. Raises PolicyError where it is missing or of another kind."""
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from transformers.utils import logging

    source = resolve_model(name)
    where = choose_device(device)
    if source == str(box_path()):
        logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(source)
        if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or getattr(config, "is_encoder_decoder", False):
            raise PolicyError(
                f"{name} is a {config.model_type} model ({', '.join(config.architectures or ['unknown architecture'])}), "
                "no causal language model: it cannot write.",
                "Set policy.model to a decoder such as Qwen/Qwen3-8B, or box.",
            )
        if any(
            "CausalLM" not in a and "LMHead" not in a and "ConditionalGeneration" not in a
            for a in config.architectures or []
        ):
            raise PolicyError(
                f"{name} was saved as {', '.join(config.architectures)}, no causal language model: it has no head to write with.",
                "Set policy.model to the causal-LM variant, or box.",
            )
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=choose_dtype(dtype, where), attn_implementation="sdpa"
        )
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        SafetensorError,
    ) as error:  # the last two: weights that do not fit, or cut short
        raise _load_error(name, "model", error) from None
    model.to(where)  # type: ignore[arg-type]
    model.eval()
    model.requires_grad_(False)
    return model


def choose_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise PolicyError(
            "policy.device=cuda, but torch sees no GPU.", "Use policy.device=auto, or install a CUDA build of torch."
        )
    return torch.device(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]


def attach_lora(
    base: Any, *, rank: int, alpha: int, dropout: float, targets: str | tuple[str, ...], seed: int, teacher: bool
) -> Any:
    """The base with a fresh student adapter in fp32, and one more for an EMA teacher where `teacher` is set."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        model = get_peft_model(base, config, adapter_name=STUDENT)
    except ValueError as error:
        raise PolicyError(
            f"LoRA does not fit this model: {error}",
            "Set distill.lora.targets to module names of the model, or all-linear.",
        ) from None
    if teacher:
        model.add_adapter(TEACHER, config)
        copy_adapter(model, STUDENT, TEACHER)
    model.set_adapter(STUDENT)
    return model


def load_adapter(base: Any, folder: Path) -> Any:
    """The base with a saved adapter as its student, not trainable. Raises PolicyError."""
    from peft import PeftModel
    from safetensors import SafetensorError

    if not (folder / "adapter_config.json").is_file():
        raise PolicyError(
            f"{folder} holds no adapter (adapter_config.json is missing).", "Give a run folder, or its adapter/ folder."
        )
    try:
        return PeftModel.from_pretrained(base, str(folder), adapter_name=STUDENT)
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise PolicyError(
            f"The adapter in {folder} does not fit this model: {_first_line(error)}",
            "Use the model that it was trained on.",
        ) from None


def adapter_parameters(model: Any, adapter: str) -> dict[str, torch.nn.Parameter]:
    """Parameters of one adapter, by a name that is the same for every adapter."""
    return {name.replace(f".{adapter}.", ".*."): p for name, p in model.named_parameters() if f".{adapter}." in name}


@torch.no_grad()
def copy_adapter(model: Any, source: str, target: str, rate: float = 1.0) -> None:
    """target <- (1 - rate) target + rate source."""
    targets = adapter_parameters(model, target)
    for name, parameter in adapter_parameters(model, source).items():
        targets[name].lerp_(parameter.to(targets[name].dtype), rate)


@contextmanager
def answering_as(model: Any, who: Weights) -> Iterator[None]:
    """Within: the base alone, the student, or the EMA teacher. Afterwards the student again."""
    if who == "current":
        yield
    elif who == "initial":
        with model.disable_adapter():
            yield
    else:
        model.set_adapter(TEACHER)
        try:
            yield
        finally:
            model.set_adapter(STUDENT)


def _load_error(name: str, part: str, error: Exception) -> PolicyError:
    return PolicyError(
        f"The {part} of {name} cannot be loaded: {_first_line(error)}",
        "Set policy.model to a model folder, a hub id that this machine can reach, or box.",
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
