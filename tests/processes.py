"""`pmd` in a process of its own, as a user's: forked from one that has imported everything, so that it begins at once."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

IMPORTED = [
    "torch", "transformers", "transformers.models.qwen3.modeling_qwen3", "peft", "dspy", "chromadb",
    "pmd_agent.cli", "pmd_agent.assembly.start", "pmd_agent.assembly.evaluate", "pmd_agent.export", "pmd_agent.loop",
    "pmd_agent.pipelines", "pmd_agent.memory", "pmd_agent.policies.local", "pmd_agent.distillation.trainer",
    "pmd_agent.reports.memory_page",
]  # fmt: skip


def forked(function: Any, *arguments: Any) -> ForkServerProcess:
    """A process that runs this function of a module; begun."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(IMPORTED)
    process = processes.Process(target=function, args=arguments)
    process.start()
    return process


def pmd(*arguments: str, cwd: Path, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
    """`pmd ARGUMENTS` in that folder, with this process's environment; its exit code and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "out", Path(folder) / "err"
        process = forked(_command, arguments, str(cwd), dict(os.environ), tuple(map(str, said)))
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["pmd", *arguments], timeout)
        out, err = (each.read_text() if each.exists() else "" for each in said)
    return subprocess.CompletedProcess(["pmd", *arguments], process.exitcode, out, err)


def _command(arguments: tuple[str, ...], cwd: str, environment: dict[str, str], said: tuple[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    into(*said)
    from pmd_agent.cli import main

    sys.argv = ["pmd", *arguments]
    try:
        main()
    finally:
        atexit._run_exitfuncs()


def into(out: str, err: str) -> None:
    """What this process says goes into these files from now on; it is asked nothing."""
    for number, (path, mode) in enumerate(((os.devnull, os.O_RDONLY), (out, os.O_WRONLY), (err, os.O_WRONLY))):
        file = os.open(path, mode | (os.O_CREAT if number else 0), 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
