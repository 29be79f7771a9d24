"""What a machine needed once, kept as a file, and whether it needs more today.

A file holds the machine's name, and of each figure the median and the spread (the middle half) of so many steps.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pmd_agent.errors import RunError

DRIFT = 0.10


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds a step."""

    median: float
    spread: float
    """Of the middle half of the steps."""
    steps: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Figure:
        """Of at least one step."""
        low, median, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else (seconds[0],) * 3
        return cls(median, high - low, len(seconds))


def drifted(before: Mapping[str, Figure], now: Mapping[str, Figure]) -> list[str]:
    """What costs more than it may, and what is no longer measured; one line each."""
    found = [f"{name} is not measured any more" for name in before.keys() - now.keys()]
    for name in before.keys() & now.keys():
        ratio = now[name].median / before[name].median
        # On a busy machine the middle half of the steps is wide: it has to lie above the baseline.
        if ratio > 1 + DRIFT and now[name].median - now[name].spread / 2 > before[name].median:
            found.append(
                f"{name}: {now[name].median:.3f} s, {ratio:.2f} times the baseline's {before[name].median:.3f}"
            )
    return sorted(found)


def machine_name(device: torch.device) -> str:
    """Of the GPU, or of the processor as the kernel calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def read(path: Path) -> dict[str, Figure]:
    """Raises RunError where it is no baseline."""
    try:
        return {name: Figure(**figure) for name, figure in json.loads(path.read_text())["figures"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is no baseline: {error}", "Make one: --write with the same options.") from None


def write(path: Path, machine: str, work: Mapping[str, Any], figures: Mapping[str, Figure]) -> None:
    """`work`: what was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "torch": torch.__version__, "work": dict(work)}
    figures_as_json = {name: asdict(figure) for name, figure in figures.items()}
    path.write_text(json.dumps(content | {"figures": figures_as_json}, indent=2) + "\n")
