"""Models in one GGUF file: converted once, into a folder of the cache that transformers, peft and vLLM read like any other.

The weights stay those of the file, so a quantised one is a little worse than the model that it was made from. In bfloat16: what
was quantised has no more to keep.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pmd_agent.errors import PolicyError

SUFFIX = ".gguf"
_PIECE = 1 << 20
"""Bytes of the file's head and tail that are part of its folder's name."""


def is_gguf(name: str) -> bool:
    return name.lower().endswith(SUFFIX)


def cache() -> Path:
    """PMD_CACHE, else ~/.cache/pmd."""
    return Path(os.environ.get("PMD_CACHE") or "~/.cache/pmd").expanduser()


def converted_folder(name: str) -> Path:
    """Where a file's model is, or will be: the name says what is in the file. Raises PolicyError where there is no such file."""
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            content = hashlib.sha256(f"{size}".encode() + file.read(_PIECE))
            file.seek(max(0, size - _PIECE))
            content.update(file.read(_PIECE))
    except OSError as error:
        reason = error.strerror or str(error)
        raise PolicyError(
            f"{name} cannot be read: {reason}.", "Set policy.model to a GGUF file that is there."
        ) from None
    return cache() / "gguf" / f"{path.stem}-{content.hexdigest()[:12]}"


def to_convert(name: str) -> str:
    """What to say before a file is converted; empty where it is no such file, or has been. Raises PolicyError."""
    if not is_gguf(name) or (folder := converted_folder(name)).is_dir():
        return ""
    return f"{name} is converted once, to bfloat16 in {folder}"


def from_gguf(name: str) -> Path:
    """The folder of the file's model, made where it is missing. Raises PolicyError."""
    folder = converted_folder(name)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        _convert(name, draft)
        try:
            draft.rename(folder)
        except OSError:  # another process was quicker
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _convert(name: str, out: Path) -> None:
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise PolicyError(f"Reading {name} needs the `gguf` package.", "pip install 'pmd-agent[gguf]'") from None
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    path, level = Path(name).expanduser(), logging.get_verbosity()
    loader: Any = AutoModelForCausalLM
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
        loaded = loader.from_pretrained(str(path.parent), gguf_file=path.name)
    # Of the many ways in which a damaged or unknown file fails, none has a class of its own.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PolicyError(
            f"{name} cannot be converted: {reason}", "Set policy.model to a folder or a hub id."
        ) from error
    finally:
        logging.set_verbosity(level)
    _plain(loader, loaded).save_pretrained(out)
    tokenizer.save_pretrained(out)
    _name_end(name, tokenizer, loaded.generation_config.eos_token_id, out)


def _plain(loader: Any, loaded: Any) -> Any:
    """The model without its quantisation."""
    import torch

    config = copy.deepcopy(loaded.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        model = loader.from_config(config, dtype=torch.bfloat16)
    weights = {key: tensor.to(torch.bfloat16) for key, tensor in loaded.state_dict().items()}
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    return model


def _name_end(name: str, tokenizer: Any, configured: int | list[int] | None, out: Path) -> None:
    """The token with which the chat template ends a turn ends an answer: some files name only that which ends a text."""
    if not tokenizer.chat_template:
        return
    from pmd_agent.models.endings import turn_ends

    others = configured if isinstance(configured, list) else [configured]
    found = [*turn_ends(name, tokenizer), *others, tokenizer.eos_token_id]
    ends = list(dict.fromkeys(i for i in found if i is not None))
    if not ends:
        return
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[-1]
    tokens = {"eos_token": tokenizer.convert_ids_to_tokens(ends[0]), "pad_token": tokenizer.convert_ids_to_tokens(pad)}
    _update(out / "tokenizer_config.json", tokens)
    _update(out / "config.json", {"eos_token_id": ends[0], "pad_token_id": pad})
    _update(out / "generation_config.json", {"eos_token_id": ends, "pad_token_id": pad})


def _update(path: Path, changes: dict[str, object]) -> None:
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(before | changes, indent=1), encoding="utf-8")
