"""One step on random ids by pmd, by a naive implementation and, where TRL is installed, by its SDPO trainer.

python -m tests.benchmarks.distill                                   # the policy in the box
python -m tests.benchmarks.distill --loss-only                       # peak memory of the loss alone
"""

from __future__ import annotations

import argparse
import sys

from pmd_agent.console import Console
from pmd_agent.distillation.bench import Work
from pmd_agent.errors import PMDError
from pmd_agent.models.loading import choose_device, resolve_model
from tests.benchmarks.distill.report import bench_loss, bench_step
from tests.benchmarks.distill.shapes import SHAPES


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.distill", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="box", help=f"box, a model folder, a hub id, or random weights: {', '.join(SHAPES)}"
    )
    lengths = {
        "problems": 1,
        "samples": 8,
        "prompt": 128,
        "teacher_prompt": 512,
        "completion": 256,
        "steps": 3,
        "rank": 32,
    }
    for name, default in (lengths | {"batch_tokens": 65_536}).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help="%(default)s")
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction, help="for all; by default on a GPU")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--loss-only", action="store_true", help="only the peak memory of the loss, without a model")
    parser.add_argument("--vocabulary", type=int, default=150_000, help="with --loss-only")
    parser.add_argument("--tokens", type=int, default=4096, help="with --loss-only")
    return parser.parse_args()


def main() -> None:
    given = vars(options())
    console, loss_only = Console(), given.pop("loss_only")
    size = {name: given.pop(name) for name in ("vocabulary", "tokens")}
    try:
        if loss_only:
            bench_loss(console, **size, width=64)
            return
        work = Work(**given)
        choose_device(work.device)  # what cannot be is said before anything is measured
        if work.model not in SHAPES:
            resolve_model(work.model)
        bench_step(work, console)
    except PMDError as error:
        console.error(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
