"""The former place of `pmd_agent.models`, for scripts that were written for it; it goes with the next release."""

from pmd_agent.models import BOX, box_path
from pmd_agent.models.adapters import (
    STUDENT,
    TEACHER,
    adapter_parameters,
    answering_as,
    attach_lora,
    copy_adapter,
    load_adapter,
)
from pmd_agent.models.loading import choose_device, choose_dtype, load_base, load_tokenizer, read_limits, resolve_model

__all__ = [
    "BOX", "STUDENT", "TEACHER", "adapter_parameters", "answering_as", "attach_lora", "box_path", "choose_device", "choose_dtype",
    "copy_adapter", "load_adapter", "load_base", "load_tokenizer", "read_limits", "resolve_model",
]  # fmt: skip
