"""What a step of distillation costs on a machine, kept as a file, and whether it costs more today.

    python -m tests.benchmarks.baseline            # beside the file of this machine: fails where a figure is 10 % higher
    python -m tests.benchmarks.baseline --write    # measures, and writes the file

The policy in the box, 2 x 8 rollouts of 64 tokens, one thread: processor seconds of a step, on a GPU seconds. A file holds the machine's
name, and of each figure the median and the spread (the middle half) of so many steps.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pmd_agent.console import Console
from pmd_agent.distillation.bench import Work, batch_of, with_adapters
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.models.loading import choose_device, load_base

FOLDER = Path(__file__).parent / "baselines"
DRIFT = 0.10
WORK = Work(problems=2, prompt=64, teacher_prompt=256, completion=64)
WAYS = {"shared": True, "whole": False}
"""Figure -> whether beginnings are shared."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds a step."""

    median: float
    spread: float
    """Of the middle half of the steps."""
    steps: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Figure:
        low, median, high = statistics.quantiles(seconds, n=4)
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


def measure(steps: int) -> dict[str, Figure]:
    found = {}
    for name, share in WAYS.items():
        base = load_base(WORK.model, dtype=WORK.dtype, device=WORK.device)
        model = with_adapters(base, WORK)
        settings = WORK.settings().model_copy(update={"share_prefixes": share})
        trainer = Trainer(model, settings, pad_id=0, seed=0)
        batch = batch_of(WORK, base.config.get_text_config().vocab_size)
        trainer.step(batch)
        found[name] = Figure.of([_seconds(lambda: trainer.step(batch), base.device) for _ in range(steps)])  # noqa: B023
    return found


def _seconds(step: Callable[[], Any], device: torch.device) -> float:
    """Of the processor, which others on the machine do not lengthen as they do the clock's; on a GPU of the clock."""
    gpu = device.type == "cuda"
    clock = time.perf_counter if gpu else time.process_time
    started = clock()
    step()
    if gpu:
        torch.cuda.synchronize()
    return clock() - started


def machine_name(device: torch.device) -> str:
    """Of the GPU, or of the processor as the kernel calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def path_of(machine: str) -> Path:
    return FOLDER / f"{re.sub('[^a-z0-9]+', '-', machine.lower()).strip('-')}.json"


def read(path: Path) -> dict[str, Figure]:
    return {name: Figure(**figure) for name, figure in json.loads(path.read_text())["figures"].items()}


def write(path: Path, machine: str, figures: Mapping[str, Figure]) -> None:
    path.parent.mkdir(exist_ok=True)
    content = {"machine": machine, "torch": torch.__version__, "work": asdict(WORK)}
    figures_as_json = {name: asdict(figure) for name, figure in figures.items()}
    path.write_text(json.dumps(content | {"figures": figures_as_json}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--steps", type=int, default=15)
    given, console = parser.parse_args(), Console()
    torch.set_num_threads(1)
    machine = machine_name(choose_device(WORK.device))
    path, figures = path_of(machine), measure(given.steps)
    console.table(["", "median s", "spread"], [[name, f.median, f.spread] for name, f in figures.items()])
    if given.write:
        write(path, machine, figures)
    elif not path.exists():
        console.info(f"there is no baseline of {machine}: --write makes one")
    elif slower := drifted(read(path), figures):
        for line in slower:
            console.warn(line)
        sys.exit(1)


if __name__ == "__main__":
    main()
