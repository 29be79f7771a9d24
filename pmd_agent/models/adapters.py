"""Adapters: fresh ones, saved ones, and whose weights answer.

One copy of the base serves everyone. The student is the PEFT adapter `student`, an EMA teacher the adapter `teacher`, the
initial policy the base with adapters switched off.

A saved adapter has to fit: every tensor has a place in the model, every place has a tensor. peft itself only warns, and the
base would answer under the adapter's name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from pmd_agent.errors import PolicyError
from pmd_agent.models.loading import first_line, load_skeleton

STUDENT, TEACHER = "student", "teacher"
WEIGHTS = "adapter_model.safetensors"
STATE = "trainer.pt"
"""What a checkpoint's weights and moments are in."""
Weights = Literal["initial", "current", "ema"]
"""Whose weights answer: the base alone, the student, or the EMA teacher."""


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
        with warnings.catch_warnings():
            # peft warns of merging where head and embeddings are one matrix: merge_adapter.py makes them two.
            warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
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
    """The base with a saved adapter as its student, not trainable. Raises PolicyError where a tensor or a module is left over."""
    return _with_adapter(base, folder, meta=False)


def check_adapter(name: str, folder: Path) -> None:
    """Whether the adapter fits the model of that name; none of the model's weights are read. Raises PolicyError."""
    _require_files(folder)
    _with_adapter(load_skeleton(name), folder, meta=True)


def _with_adapter(base: Any, folder: Path, *, meta: bool) -> Any:
    """`meta`: the base has no weights, and gets a copy of the adapter's all the same."""
    from peft import LoraConfig, PeftConfig, PeftModelForCausalLM, load_peft_weights, set_peft_model_state_dict
    from safetensors import SafetensorError

    _require_files(folder)
    place = "cpu" if meta else str(next(base.parameters()).device)
    try:
        config = PeftConfig.from_pretrained(str(folder))
        if not isinstance(config, LoraConfig):
            raise _misfit(folder, f"it is of the kind {config.peft_type}, and pmd reads LoRA")
        config.inference_mode = True
        with warnings.catch_warnings(action="ignore"):  # peft's: what they are about is said below
            model = PeftModelForCausalLM(base, config, adapter_name=STUDENT, low_cpu_mem_usage=meta)
            tensors = load_peft_weights(str(folder), device=place)
            found: Any = set_peft_model_state_dict(model, tensors, adapter_name=STUDENT, low_cpu_mem_usage=meta)
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise _misfit(folder, first_line(error)) from None
    if reason := _left_over([n for n in found.missing_keys if f".{STUDENT}." in n], found.unexpected_keys):
        raise _misfit(folder, reason)
    if broken := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise _misfit(folder, f"{_counted(broken, 'tensor', 'with numbers that are not finite')}")
    return model.eval()


def _require_files(folder: Path) -> None:
    if not (folder / "adapter_config.json").is_file():
        raise PolicyError(
            f"{folder} holds no adapter (adapter_config.json is missing).", "Give a run folder, or its adapter/ folder."
        )
    if (folder / WEIGHTS).is_file():
        return
    if any(folder.glob("adapter_model.*")):
        raise PolicyError(
            f"The adapter in {folder} is not in {WEIGHTS}; pmd reads no pickled weights.",
            "Save it again with peft's save_pretrained, which writes safetensors.",
        )
    raise _misfit(folder, f"{WEIGHTS} is missing")


def _left_over(empty: Sequence[str], homeless: Sequence[str]) -> str:
    """What peft would only warn of, or pass over; empty where all is well."""
    parts = []
    if homeless:
        parts.append(f"{_counted(homeless, 'tensor', 'without a place in the model')}")
    if empty:
        parts.append(f"{_counted(empty, 'place', 'of the model without a tensor')}")
    return ", and ".join(parts)


def _counted(names: Sequence[str], what: str, which: str) -> str:
    many = len(names) > 1
    return f"{len(names)} {what}{'s' * many} {which} ({names[0]}{', ...' * many})"


def _misfit(folder: Path, reason: str) -> PolicyError:
    return PolicyError(
        f"The adapter in {folder} does not fit this model: {reason}.", "Use the model that it was trained on."
    )


def adapter_parameters(model: Any, adapter: str) -> dict[str, torch.nn.Parameter]:
    """Parameters of one adapter, by a name that is the same for every adapter."""
    return {name.replace(f".{adapter}.", ".*."): p for name, p in model.named_parameters() if f".{adapter}." in name}


@torch.no_grad()
def copy_adapter(model: Any, source: str, target: str, rate: float = 1.0) -> None:
    """target <- (1 - rate) target + rate source."""
    targets = adapter_parameters(model, target)
    pairs = [(targets[name], p.to(targets[name].dtype)) for name, p in adapter_parameters(model, source).items()]
    if pairs:
        torch._foreach_lerp_([t for t, _ in pairs], [s for _, s in pairs], rate)


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
