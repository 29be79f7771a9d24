"""How a vLLM server is started: from settings to a command line and an environment."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pmd_agent.errors import PolicyError
from pmd_agent.models import BOX, box_path
from pmd_agent.models.gguf import from_gguf, is_gguf

BASE_NAME = "pmd-base"
"""The name under which a server that pmd starts serves the base model."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""LoRA ranks that vLLM makes room for."""
CPU_BATCH_TOKENS = 8192
"""Of one step of the CPU build's engine; at least a whole prompt has to fit."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server needs to know to start."""

    model: str
    """A folder or a hub id."""
    dtype: str = "auto"
    """auto, float32, bfloat16; auto is the model's own on a GPU, and float32 on a CPU."""
    lora_rank: int = 0
    """The largest adapter that will be loaded; 0: none will."""
    max_model_len: int | None = None
    """Tokens of a prompt and its completion; None: as many as the model reads."""
    gpu_share: float = 0.45
    """Of each GPU's memory, for weights, KV cache and all else of the server."""
    gpus: str = ""
    """CUDA_VISIBLE_DEVICES of the server; empty: what this process sees."""
    tensor_parallel: int = 1
    data_parallel: int = 1
    cpu_cache_gib: int = 1
    """KV cache of the CPU build, where VLLM_CPU_KVCACHE_SPACE does not say."""
    sleep: bool = False
    """Offer sleep mode (GPU only)."""
    python: str = ""
    """The interpreter that has vLLM; empty: this one."""
    arguments: tuple[str, ...] = ()
    """Appended to the command line."""


def settings_of(section: BaseModel, **more: Any) -> ServerSettings:
    """The settings that a recipe's policy section has under the same names; `more` adds, and overrides."""
    known = {field.name for field in fields(ServerSettings)}
    said = {name: value for name, value in section.model_dump().items() if name in known and value is not None}
    said |= more
    return ServerSettings(**said | {"model": model_source(said["model"])})


def adapter_rank(folder: Path) -> int:
    """Of a saved LoRA adapter. Raises PolicyError."""
    try:
        return int(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError) as error:
        raise PolicyError(f"{folder} holds no LoRA adapter: {error}", "Give a run's adapter/ folder.") from None


def model_source(name: str) -> str:
    """`box` as the folder that ships with pmd, a GGUF file as that of its converted model; anything else as it is."""
    if is_gguf(name) and not Path(name).is_dir():
        return str(from_gguf(name))
    return str(box_path()) if name == BOX else name


def has_gpu() -> bool:
    """Whether this machine has a driver for a GPU that vLLM runs on; imports nothing."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))


def server_command(
    settings: ServerSettings, *, port: int, host: str = "127.0.0.1", adapters: dict[str, Path] | None = None
) -> list[str]:
    """The command that serves the model, and `adapters` from the start."""
    command = [settings.python or sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", settings.model, "--served-model-name", BASE_NAME, "--host", host, "--port", str(port)]
    gpu = has_gpu()
    dtype = "float32" if settings.dtype == "auto" and not gpu else settings.dtype
    command += ["--dtype", dtype, "--seed", "0", "--enable-prefix-caching"]
    if settings.max_model_len is not None:
        command += ["--max-model-len", str(settings.max_model_len)]
    if gpu:
        command += ["--gpu-memory-utilization", str(settings.gpu_share)]
        command += ["--enable-sleep-mode"] if settings.sleep else []
    else:
        command += ["--enforce-eager"]  # compiling takes longer there than it saves
        # A prompt read in two parts kills 0.32's CPU engine where a seed is given: it winds back a generator that cannot.
        command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens"]
        command += [str(max(CPU_BATCH_TOKENS, settings.max_model_len or 0))]
    for option, count in (("tensor", settings.tensor_parallel), ("data", settings.data_parallel)):
        command += [f"--{option}-parallel-size", str(count)] if count > 1 else []
    if settings.lora_rank:
        rank = next((r for r in RANKS if r >= settings.lora_rank), settings.lora_rank)
        # Two in the CPU's memory, since the next one is there before the last one goes; one at a time answers.
        command += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", "1", "--max-cpu-loras", "2"]
    if adapters:
        command += ["--lora-modules", *(f"{name}={path}" for name, path in adapters.items())]
    return [*command, *settings.arguments]


def server_environment(settings: ServerSettings, *, adapters_change: bool = True) -> dict[str, str]:
    """What the server's environment has beside this process's own. `adapters_change`: they are loaded as it runs."""
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if adapters_change:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    if settings.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = settings.gpus
    if has_gpu():
        environment |= {"VLLM_SERVER_DEV_MODE": "1"} if settings.sleep else {}
    elif "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(settings.cpu_cache_gib)
    return environment


def typed(command: list[str], environment: dict[str, str]) -> str:
    """The same as one line for a shell."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in environment.items()), shlex.join(command)])
