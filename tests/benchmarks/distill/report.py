"""The benchmark as tables: what each contestant took, and what could not be measured, with its reason."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pmd_agent.console import Console
from pmd_agent.distillation.bench import Work
from pmd_agent.errors import RunError
from tests.benchmarks.distill.measure import alone, available_memory
from tests.benchmarks.distill.sdpo_trl import unavailable

NAMES = {"pmd": "pmd", "naive": "naive Hugging Face", "trl": "TRL SDPO"}
GIB = 2**30
NAIVE_COPIES = 5
"""Tensors of the size of all logits that the naive loss holds at its peak, about: to tell beforehand whether they fit."""


def bench_step(work: Work, console: Console) -> dict[str, dict[str, Any]]:
    """One step by each contestant on the same batch, and a table. Returns their reports. Raises RunError."""
    with console.stage("measuring the matmul ceiling"):
        ceiling = alone("ceiling", asdict(work))
    console.info(
        f"{work.model}, LoRA rank {work.rank}: {work.problems} x {work.samples} rollouts of {work.completion} tokens, "
        f"prompt {work.prompt}, teacher's prompt {work.teacher_prompt}"
    )
    if "error" in ceiling:
        console.warn(f"the matmul ceiling: {ceiling['error']}")
    else:
        console.info(
            f"{ceiling['name']}: {ceiling['flops'] / 1e12:.3g} TFLOP/s in {ceiling['dtype']} matmuls, measured"
        )
    reports: dict[str, dict[str, Any]] = {}
    missing = unavailable()
    for contestant in NAMES:
        if contestant == "trl" and missing:
            console.info(f"{NAMES['trl']}: not measured: {missing}")
            continue
        with console.stage(f"measuring {NAMES[contestant]}"):
            reports[contestant] = alone(contestant, asdict(work))
    if "error" in reports["pmd"]:
        raise RunError(
            f"The step could not be measured: {reports['pmd']['error']}", "Choose another --model, or less of it."
        )
    rows = []
    for contestant, r in reports.items():
        if "error" in r:
            console.warn(f"{NAMES[contestant]}: {r['error']}")
            continue
        speed, bound = r["flops"] / r["seconds"], ceiling.get("flops")
        rows.append(
            [
                NAMES[contestant], r["seconds"], r["tokens"] / r["seconds"], r["peak_bytes"] / GIB, r["flops"] / 1e12,
                100 * speed / bound if bound else None, r["loss"], r.get("rows"),
            ]
        )  # fmt: skip
        if contestant == "pmd" and r["unshared"]:
            console.info(f"pmd computed every rollout whole: {r['unshared']}")
    console.table(["", "s/step", "tokens/s", "peak GiB", "TFLOP", "MFU %", "loss", "rows at once"], rows)
    return reports


def bench_loss(console: Console, *, vocabulary: int, tokens: int, width: int) -> dict[str, dict[str, Any]]:
    """Peak memory of the loss alone on the CPU, and the ratio. Returns the reports."""
    console.info(f"the loss alone: vocabulary {vocabulary}, {tokens} tokens, width {width}, float32 on the CPU")
    options = {"vocabulary": vocabulary, "tokens": tokens, "width": width}
    needed, free = NAIVE_COPIES * 4 * vocabulary * tokens, available_memory()
    if free is not None and needed > free:
        console.warn(f"not measured: the naive loss needs about {needed / GIB:.1f} GiB, and {free / GIB:.1f} are free")
        return {}
    reports = {}
    for contestant in ("pmd", "naive"):
        with console.stage(f"measuring {NAMES[contestant]}"):
            reports[contestant] = alone(f"loss-{contestant}", options)
    for contestant, r in reports.items():
        if "error" in r:
            console.warn(f"{NAMES[contestant]}: {r['error']}")
            return reports
    console.table(
        ["", "peak GiB", "loss", "norm of the gradient"],
        [[NAMES[c], r["peak_bytes"] / GIB, r["loss"], r["grad"]] for c, r in reports.items()],
    )
    console.info(f"naive / pmd: {reports['naive']['peak_bytes'] / reports['pmd']['peak_bytes']:.1f}")
    return reports
