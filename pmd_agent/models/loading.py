"""Models and tokenizers: finding them, loading them, and refusing those that cannot answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch

from pmd_agent.errors import PolicyError
from pmd_agent.models import BOX, box_path
from pmd_agent.models.endings import end_ids, odd_ends
from pmd_agent.models.gguf import from_gguf, is_gguf
from pmd_agent.models.templates import ChatTemplate


def resolve_model(name: str) -> str:
    """`box` becomes a folder, a GGUF file that of its converted model; a folder or hub id stays. Raises PolicyError."""
    if name == BOX:
        return str(box_path())
    if is_gguf(name) and not Path(name).is_dir():
        return str(from_gguf(name))
    path = Path(name)
    if path.is_dir() and not (path / "config.json").is_file():
        raise PolicyError(
            f"{name} is a folder without config.json, so no model can be loaded from it.",
            "Set policy.model to a model folder, a hub id, or box.",
        )
    if (name.startswith((".", "/", "~")) or path.suffix) and not path.exists() and name.count("/") != 1:
        raise PolicyError(f"There is no model folder {name}.", "Set policy.model to a model folder, a hub id, or box.")
    return name


P = ParamSpec("P")
R = TypeVar("R")
_LOADING = threading.RLock()


def one_at_a_time(load: Callable[P, R]) -> Callable[P, R]:
    """Not in two threads at once: transformers changes globals while it loads, and two loads leave them changed for good."""

    @wraps(load)
    def locked(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOADING:
            return load(*args, **kwargs)

    return locked


@one_at_a_time
def load_tokenizer(name: str, *, offline: bool = False) -> Any:
    """The tokenizer, with a chat template that keeps what messages say. Raises PolicyError."""
    from transformers import AutoTokenizer

    source = resolve_model(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=offline)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _load_error(name, "tokenizer", error) from None
    if not tokenizer.chat_template:
        raise PolicyError(
            f"The tokenizer of {name} has no chat template, so prompts cannot be put to it.",
            "Choose an instruction-tuned model.",
        )
    ChatTemplate(tokenizer, name)  # what is wrong with it is said now
    return tokenizer


def read_limits(name: str, tokenizer: Any, *, offline: bool = False) -> tuple[int, tuple[int, ...]]:
    """The tokens that a model reads and writes in all, and the ids that end an answer; no weights are read. Raises PolicyError."""
    from transformers import GenerationConfig

    config = read_config(name, offline=offline)
    try:
        configured = GenerationConfig.from_pretrained(resolve_model(name), local_files_only=offline).eos_token_id
    except (OSError, ValueError):
        configured = getattr(config.get_text_config(), "eos_token_id", None)
    vocabulary = int(getattr(config.get_text_config(), "vocab_size", 0) or len(tokenizer))
    ends = end_ids(name, configured, tokenizer, vocabulary)
    return int(getattr(config, "max_position_embeddings", 0) or 1 << 30), ends


def check_model(name: str, *, offline: bool = False) -> list[str]:
    """What is odd about a model and yet can be run; no weights are read. Raises PolicyError for one that cannot be."""
    tokenizer = load_tokenizer(name, offline=offline)
    _, ends = read_limits(name, tokenizer, offline=offline)
    return odd_ends(name, tokenizer, ends)


@one_at_a_time
def load_base(name: str, *, dtype: str = "auto", device: str = "auto") -> Any:
    """The causal language model, in evaluation mode. Raises PolicyError where it is missing, not whole, or of another kind."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    source = resolve_model(name)
    where = choose_device(device)
    if source == str(box_path()):
        logging.disable_progress_bar()
    read_config(name)
    loader: Any = AutoModelForCausalLM  # its annotations know one result, and there are two
    try:
        model, found = loader.from_pretrained(
            source,
            dtype=choose_dtype(dtype, where),
            attn_implementation="sdpa",
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        SafetensorError,
    ) as error:  # the last two: weights that do not fit, or cut short
        raise _load_error(name, "model", error) from None
    if missing := sorted(found["missing_keys"]):  # transformers would make them up
        raise _load_error(name, "model", ValueError(f"its files lack {len(missing)} tensors ({missing[0]}, ...)"))
    model.to(where)
    model.eval()
    model.requires_grad_(False)
    return model


@one_at_a_time
def load_skeleton(name: str) -> Any:
    """The modules of the causal language model, without any weights. Raises PolicyError."""
    from transformers import AutoModelForCausalLM

    config = read_config(name)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, RuntimeError, ImportError) as error:
        raise _load_error(name, "model", error) from None


def read_config(name: str, *, offline: bool = False) -> Any:
    """The configuration of a causal language model. Raises PolicyError for any other."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(resolve_model(name), trust_remote_code=False, local_files_only=offline)
    except (OSError, ValueError, KeyError) as error:
        raise _load_error(name, "configuration", error) from None
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
    return config


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


def _load_error(name: str, part: str, error: Exception) -> PolicyError:
    reason = first_line(error)
    if "custom code" in reason:
        return PolicyError(
            f"{name} brings program code of its own, and pmd runs none that comes with a model.",
            "Set policy.model to a model that transformers has the code of, or box.",
        )
    return PolicyError(
        f"The {part} of {name} cannot be loaded: {reason}",
        "Set policy.model to a model folder, a hub id that this machine can reach, or box.",
    )


def first_line(error: Exception) -> str:
    """Of what an error says; its kind, where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
