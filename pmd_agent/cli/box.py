"""pmd box path | build | probe"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="The tiny policy that ships with pmd (policy.model=box).")


def _path() -> Path:
    from importlib.resources import files

    return Path(str(files("pmd_agent.models") / "box"))


@app.command()
def path() -> None:
    """Print the folder of the policy in the box."""
    from pmd_agent.console import Console

    Console().info(str(_path()))


@app.command()
def build(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that is not there yet, or empty.")],
    seed: Annotated[int, typer.Option(help="Decides weights and documents.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Of one thread each.")] = 2,
) -> None:
    """Pretrain the policy in the box from nothing."""
    from pmd_agent.console import Console
    from pmd_agent.errors import RunError

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is there already, and nothing is overwritten.", "Give another folder with --out DIR.")
    from recipes.box.train import BoxRecipe
    from recipes.box.train import build as build_box

    console = Console()

    def show(line: dict[str, Any]) -> None:
        accuracy = " ".join(f"{kind} {share:.2f}" for kind, share in line["accuracy"].items())
        console.info(
            f"step {line['step']} · {line['stage']} · {line['tokens_per_second']} tokens/s · right: {accuracy}"
        )

    build_box(out, BoxRecipe(seed=seed, processes=processes), show)
    console.info(f"{out}: use it with policy.model={out}, see how good it is with `pmd box probe --model {out}`")


@app.command()
def probe(
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A model folder; the one in the box by default.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Questions of each kind.")] = 200,
    seed: Annotated[int, typer.Option(help="Decides the questions.")] = 1,
) -> None:
    """Measure what the policy can do with and without memory in its prompt."""
    from pmd_agent.console import Console
    from recipes.box.probes import probe as measure

    console = Console()
    with console.stage("probing"):
        rows = measure(model or _path(), count, seed)
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    console.table(["probe", *columns], [[name, *(row.get(column) for column in columns)] for name, row in rows.items()])
