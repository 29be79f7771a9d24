"""Seconds, peak memory and the ceiling of the machine: each contestant alone in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")


class Peak:
    """Memory taken at most since it was made, beyond what was held then, in bytes.

    On a GPU, of torch's allocator. Elsewhere, resident memory as the kernel counts it; where it cannot be reset (not Linux),
    the process's highest ever.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.held = torch.cuda.memory_allocated()
        else:
            if STATUS.exists():
                Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is held now
            self.held = _status("VmRSS") or _highest()

    def taken(self) -> int:
        if self._cuda:
            return int(torch.cuda.max_memory_allocated()) - self.held
        return (_status("VmHWM") or _highest()) - self.held


def _status(key: str) -> int | None:
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _highest() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(step: Callable[[], Any], steps: int, device: torch.device) -> float:
    """Seconds of the fastest of so many, after one that is not measured: others use the machine too."""
    found = []
    for number in range(steps + 1):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number:
            found.append(time.perf_counter() - started)
    return min(found)


def matmul_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the best of some multiplications of square matrices: what the machine gives at most, here and now."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    best = timed(lambda: a @ b, 20, device)
    return 2 * n**3 / best


def available_memory() -> int | None:
    """Bytes that new processes may take without swapping; None where that is not known."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def alone(contestant: str, options: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own reports of this contestant (child.py). A failure is reported as `error`."""
    with tempfile.TemporaryDirectory(prefix="pmd-bench-") as folder:
        out = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.distill.child",
            contestant,
            json.dumps(options),
            str(out),
        ]
        environment = dict(os.environ)
        if contestant.startswith("loss-"):
            # Not timed. Freed memory goes back at once, so that the kernel counts what is in use.
            environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode == 0 and out.exists():
            report: dict[str, Any] = json.loads(out.read_text())
            return report
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    killed = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return {"error": lines[-1][:300] if lines else killed}
