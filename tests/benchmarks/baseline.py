"""What a step of distillation costs on a machine, kept as a file, and whether it costs more today.

    python -m tests.benchmarks.baseline            # beside the file of this machine: fails where a figure is 10 % higher
    python -m tests.benchmarks.baseline --write    # measures, and writes the file

The policy in the box, 2 x 8 rollouts of 64 tokens, one thread: processor seconds of a step, on a GPU seconds. A file holds the machine's
name, and of each figure the median and the spread (the middle half) of so many steps.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pmd_agent.console import Console
from pmd_agent.distillation.baselines import Figure, drifted, machine_name, read, write
from pmd_agent.distillation.bench import Work, batch_of, with_adapters
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.models.loading import choose_device, load_base

FOLDER = Path(__file__).parent / "baselines"
WORK = Work(problems=2, prompt=64, teacher_prompt=256, completion=64)
WAYS = {"shared": True, "whole": False}
"""Figure -> whether beginnings are shared."""


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


def path_of(machine: str) -> Path:
    return FOLDER / f"{re.sub('[^a-z0-9]+', '-', machine.lower()).strip('-')}.json"


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
        write(path, machine, asdict(WORK), figures)
    elif not path.exists():
        console.info(f"there is no baseline of {machine}: --write makes one")
    elif slower := drifted(read(path), figures):
        for line in slower:
            console.warn(line)
        sys.exit(1)


if __name__ == "__main__":
    main()
