"""pmd bench distill, pmd bench step"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.cli.group import Group

if TYPE_CHECKING:
    from pmd_agent.assembly.step_bench import StepCost
    from pmd_agent.console import Console

app = typer.Typer(cls=Group, no_args_is_help=True, help="Measure what parts of pmd cost on this machine.")
GIB = 2**30


@app.callback()
def bench() -> None:
    """Measure what parts of pmd cost on this machine."""


@app.command()
def distill(
    model: Annotated[str, typer.Option(help="box, a model folder, or a hub id.")] = "box",
    problems: Annotated[int, typer.Option(min=1, help="In the batch.")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="Rollouts of each problem.")] = 8,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of the problem.")] = 128,
    teacher_prompt: Annotated[int, typer.Option(min=2, help="Tokens of memory and problem.")] = 512,
    completion: Annotated[int, typer.Option(min=1, help="Tokens of each rollout.")] = 256,
    steps: Annotated[int, typer.Option(min=1, help="Measured; the fastest counts.")] = 3,
    rank: Annotated[int, typer.Option(min=1, help="Of the adapter.")] = 32,
    batch_tokens: Annotated[
        int | None, typer.Option(min=256, help="As distill.batch_tokens; by default as memory allows.")
    ] = None,
    share_prefixes: Annotated[bool, typer.Option(help="As distill.share_prefixes.")] = True,
    checkpointing: Annotated[
        bool | None, typer.Option(help="As distill.gradient_checkpointing; by default where memory is short.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
) -> None:
    """One step of distillation of a model: seconds, tokens/s, peak memory and MFU on this machine."""
    from pmd_agent.console import Console

    if device not in ("auto", "cpu", "cuda") or dtype not in ("auto", "float32", "bfloat16"):
        raise typer.BadParameter("--device is auto, cpu or cuda; --dtype is auto, float32 or bfloat16.")
    if teacher_prompt <= prompt:
        raise typer.BadParameter("--teacher-prompt holds the problem and something before it: more than --prompt.")
    from pmd_agent.distillation.bench import Work, measure_ceiling, measure_step

    work = Work(
        model=model,
        problems=problems,
        samples=samples,
        prompt=prompt,
        teacher_prompt=teacher_prompt,
        completion=completion,
        steps=steps,
        rank=rank,
        device=device,
        dtype=dtype,
        batch_tokens=batch_tokens,
        checkpointing=checkpointing,
        share_prefixes=share_prefixes,
    )
    console = Console()
    with console.stage("measuring a step"):
        cost = measure_step(work)
    with console.stage("measuring the matmul ceiling"):
        ceiling = measure_ceiling(work)
    console.info(f"{ceiling.name}: {ceiling.flops / 1e12:.3g} TFLOP/s in {ceiling.dtype} matmuls, measured")
    if cost.unshared:
        console.info(f"every rollout was computed whole: {cost.unshared}")
    if cost.slow:
        console.info(f"attention made one call a segment: {cost.slow}")
    columns = {
        "s/step": cost.seconds,
        "rollout tokens/s": cost.tokens / cost.seconds,
        "model GiB": cost.model_bytes / GIB,
        "peak GiB beyond it": cost.peak_bytes / GIB,
        "TFLOP": cost.flops / 1e12,
        "MFU %": 100 * cost.flops / cost.seconds / ceiling.flops,
    }
    console.table(list(columns), [list(columns.values())])


@app.command()
def step(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, such as recipes/quickstart.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as policy.type=vllm.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Measured, after one that is not.")] = 3,
    shape: Annotated[
        str | None, typer.Option(help="Random weights in place of the recipe's: qwen3-0.6b, qwen3-1.7b or qwen3-8b.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="A file to compare with: exit code 1 where anything costs 10 % more.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the file of --baseline instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Whole steps of a recipe: seconds, share, tokens/s and MFU of each stage on this machine."""
    if write and baseline is None:
        raise typer.BadParameter("--write writes the file that --baseline names.")
    from pmd_agent.assembly.step_bench import measure_whole_steps
    from pmd_agent.console import Console
    from pmd_agent.distillation import baselines
    from pmd_agent.models.random_weights import SHAPES
    from pmd_agent.recipe import load_recipe
    from pmd_agent.runs.files import to_json

    if shape is not None and shape not in SHAPES:
        raise typer.BadParameter(f"--shape is one of {', '.join(SHAPES)}.")
    before = baselines.read(baseline) if baseline is not None and not write else None
    console = Console()
    settings = load_recipe(recipe, overrides or [])
    if as_json:
        import io

        cost = measure_whole_steps(settings, steps, Console(io.StringIO()), shape=shape)
        console.info(to_json(cost.record()).decode())
    else:
        cost = measure_whole_steps(settings, steps, console, shape=shape)
        _show(cost, console)
    if baseline is not None and write:
        work = {"recipe": recipe.name, "overrides": overrides or [], "shape": shape, "steps": steps}
        baselines.write(baseline, cost.machine, work, cost.figures(all_stages=False))
    elif before is not None and (slower := baselines.drifted(before, cost.figures(all_stages=True))):
        for line in slower:
            console.warn(line)
        raise typer.Exit(1)


def _show(cost: StepCost, console: Console) -> None:
    for line in cost.said:
        console.warn(line)
    console.info(
        f"{cost.machine}: {cost.rollouts} rollouts, {cost.tokens} tokens sampled, {cost.step.median:.3g} s a step"
    )
    if cost.peak is None:
        console.info("no MFU: the peak of this machine is not known (it is of some GPUs in bfloat16)")
    columns = ["stage", "s", "spread", "% of the step", "tokens/s", "TFLOP", "MFU %"]
    rows = [
        [
            name,
            stage.seconds.median,
            stage.seconds.spread,
            100 * stage.share,
            _blank(stage.tokens_per_second),
            _blank(stage.flops, 1e-12),
            _blank(stage.mfu, 100),
        ]
        for name, stage in cost.stages.items()
    ]
    console.table(columns, rows)


def _blank(value: float | None, scale: float = 1.0) -> float | str:
    return "" if value is None else value * scale
