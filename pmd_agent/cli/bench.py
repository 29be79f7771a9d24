"""pmd bench distill"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Measure what parts of pmd cost on this machine.")
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
