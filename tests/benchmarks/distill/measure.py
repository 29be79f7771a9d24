"""Each contestant alone in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


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
        environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
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
