"""Pretrain the policy in the box from nothing.

python -m recipes.box.build --out my-box        # two cores, an hour or less
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pmd_agent.console import Console
from recipes.box.train import BoxRecipe, build


def main() -> None:
    """Nothing is overwritten: a folder that holds something is refused."""
    parser = argparse.ArgumentParser(prog="recipes.box.build", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a folder that is not there yet, or empty"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides weights and documents (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="of one thread each (%(default)s)")
    given = parser.parse_args()
    out: Path = given.out
    if given.processes < 1:
        parser.error("--processes is 1 or more")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        parser.error(f"{out} is there already, and nothing is overwritten: give another folder with --out")
    console = Console()

    def show(line: dict[str, Any]) -> None:
        right = " ".join(f"{kind} {share:.2f}" for kind, share in line["accuracy"].items())
        console.info(f"step {line['step']} · {line['stage']} · {line['tokens_per_second']} tokens/s · right: {right}")

    build(out, BoxRecipe(seed=given.seed, processes=given.processes), show)
    console.info(
        f"{out}: use it with policy.model={out}, see how good it is by python -m recipes.box.probe --model {out}"
    )


if __name__ == "__main__":
    main()
