"""pmd bench distill"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Measure what parts of pmd cost on this machine.")


@app.callback()
def bench() -> None:
    """Measure what parts of pmd cost on this machine."""


@app.command()
def distill(
    model: Annotated[
        str,
        typer.Option(help="box, a model folder, a hub id; qwen3-8b and qwen3-0.6b are random weights of that shape."),
    ] = "box",
    problems: Annotated[int, typer.Option(min=1, help="In the batch.")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="Rollouts of each problem.")] = 8,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of the problem.")] = 128,
    teacher_prompt: Annotated[int, typer.Option(min=2, help="Tokens of memory and problem.")] = 512,
    completion: Annotated[int, typer.Option(min=1, help="Tokens of each rollout.")] = 256,
    steps: Annotated[int, typer.Option(min=1, help="Measured; the fastest counts.")] = 3,
    rank: Annotated[int, typer.Option(min=1, help="Of the adapter.")] = 32,
    batch_tokens: Annotated[int, typer.Option(min=256, help="As distill.batch_tokens.")] = 65_536,
    checkpointing: Annotated[
        bool | None, typer.Option(help="As distill.gradient_checkpointing, for all; by default on a GPU.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    loss_only: Annotated[
        bool, typer.Option("--loss-only", help="Only the peak memory of the loss, without a model.")
    ] = False,
    vocabulary: Annotated[int, typer.Option(min=128, help="With --loss-only.")] = 150_000,
    tokens: Annotated[int, typer.Option(min=1, help="With --loss-only.")] = 4096,
) -> None:
    """One step of distillation: tokens/s, peak memory and MFU, beside a naive implementation and TRL's where installed."""
    from pmd_agent.console import Console

    if device not in ("auto", "cpu", "cuda") or dtype not in ("auto", "float32", "bfloat16"):
        raise typer.BadParameter("--device is auto, cpu or cuda; --dtype is auto, float32 or bfloat16.")
    if teacher_prompt <= prompt:
        raise typer.BadParameter("--teacher-prompt holds the problem and something before it: more than --prompt.")
    console = Console()
    if loss_only:
        from pmd_agent.distillation.bench.report import bench_loss

        bench_loss(console, vocabulary=vocabulary, tokens=tokens, width=64)
        return
    from pmd_agent.distillation.bench.report import bench_step
    from pmd_agent.distillation.bench.work import SHAPES, Work
    from pmd_agent.weights import choose_device, resolve_model

    choose_device(device)  # what cannot be is said before anything is measured
    if model not in SHAPES:
        resolve_model(model)
    bench_step(
        Work(
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
        ),
        console,
    )
