"""Where and with what a run was made, without importing any of it."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "dspy", "chromadb", "pydantic", "numpy", "vllm")


def describe_environment() -> dict[str, Any]:
    """Versions, processors, the commit of the folder that pmd was called in, the command and the time (UTC)."""
    return {
        "pmd": installed_version("pmd-agent"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := installed_version(name))},
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "commit": _commit(),
        "command": command_line(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def installed_version(package: str) -> str | None:
    """A package's version by its metadata; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def command_line() -> str:
    """What was typed, as far as Python knows."""
    program = Path(sys.argv[0]).name
    return shlex.join(["pmd" if program in ("pmd", "__main__.py") else program, *sys.argv[1:]])


def _commit() -> str | None:
    """The checked-out commit, `+` where files were changed since."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=2, check=True)
    return done.stdout.strip()
