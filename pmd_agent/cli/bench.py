"""pmd bench distill | memory"""

from __future__ import annotations

import tempfile
from pathlib import Path
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
        from tests.benchmarks.distill.report import bench_loss

        bench_loss(console, vocabulary=vocabulary, tokens=tokens, width=64)
        return
    from pmd_agent.distillation.bench import SHAPES, Work
    from pmd_agent.models.loading import choose_device, resolve_model
    from tests.benchmarks.distill.report import bench_step

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


@app.command()
def memory(
    entries: Annotated[
        list[int] | None,
        typer.Option(min=10, help="Sizes, one after the other. Default: 1000, 10000; 100000 takes long."),
    ] = None,
) -> None:
    """Recall, writes, disk and cold start of a memory on Chroma, embeddings given, beside bare Chroma."""
    from pmd_agent.console import Console
    from tests.benchmarks.memory import measure

    console = Console()
    rows = []
    for size in entries or [1_000, 10_000]:
        with tempfile.TemporaryDirectory(prefix="pmd-bench-") as folder, console.stage(f"{size} entries"):
            r = measure(Path(folder), size)
        middle, late = r.recall(0.5), r.recall(0.99)
        times = [f"{1000 * each:.1f}" for each in (middle.wall, late.wall, middle.cpu, late.cpu)]
        writes = [f"{size / r.written.wall:.0f}", f"{r.ratio:.2f}", f"{r.cpu_ratio:.2f}"]
        disk = [f"{r.bytes_per_entry:.0f}", f"{r.bare_bytes_per_entry:.0f}"]
        cold = [f"{each.wall:.2f} ({each.cpu:.2f})" for each in (r.opened, r.scanned, r.bare_opened)]
        rows.append((size, *times, f"{100 * r.found:.1f}", *writes, *disk, *cold))
    columns = (
        "entries",
        "recall p50 ms",
        "p99",
        "p50 cpu",
        "p99 cpu",
        "nearest found %",
        "writes/s",
        "of bare",
        "of bare cpu",
        "bytes",
        "bare bytes",
        "open, recall s (cpu)",
        "without index s (cpu)",
        "bare s (cpu)",
    )
    console.table(columns, rows)
