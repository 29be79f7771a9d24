"""`pmd bench step`: where the time of a recipe's whole steps goes on this machine.

The steps are those of a run, in a temporary folder; evaluation is left out. The first step is not measured: kernels are
compiled in it, and caches filled.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pmd_agent.assembly.given import Given
from pmd_agent.assembly.parts import open_in, open_run_memory, prepare
from pmd_agent.console import Console
from pmd_agent.distillation.baselines import Figure, machine_name
from pmd_agent.distillation.bench import flops, sampling_flops
from pmd_agent.distillation.example import Example
from pmd_agent.errors import RunError
from pmd_agent.loop import practise
from pmd_agent.models.loading import choose_device, choose_dtype
from pmd_agent.models.random_weights import write_random_model
from pmd_agent.problems import load_problems
from pmd_agent.recipe import Recipe, ScriptedPolicySection
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.lock import unlock_folder
from pmd_agent.stages import Parts
from pmd_agent.types import Step

PEAKS = {
    "GB200": 2500e12, "B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12,
    "A100": 312e12, "L40S": 362e12, "A10G": 70e12, "L4": 121e12, "RTX 4090": 165e12, "RTX 5090": 209e12,
}  # fmt: skip
"""Operations a second in bfloat16 as their makers state them, without sparsity; the first name that a card's has in it."""
REST = "commit"
"""What no stage takes: writing the step down, above all."""
SHARE = 0.05
"""Of a step: stages below are not held to a baseline."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Medians over the measured steps."""

    seconds: Figure
    share: float
    """Of the step, in [0, 1]."""
    tokens_per_second: float | None = None
    """Sampled, or learnt from."""
    flops: float | None = None
    mfu: float | None = None
    """In [0, 1]; None where the peak of the machine is not known."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """What `pmd bench step` prints."""

    machine: str
    peak: float | None
    """Operations a second; None where it is not known."""
    rollouts: int
    tokens: int
    """Sampled in a step."""
    step: Figure
    stages: Mapping[str, Stage]
    said: tuple[str, ...] = ()
    """Warnings of the run, each once."""

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"said": list(self.said)}

    def figures(self, *, all_stages: bool) -> dict[str, Figure]:
        """To be held to a baseline; `all_stages`: also those that are too short for it."""
        long = {name: s.seconds for name, s in self.stages.items() if all_stages or s.share >= SHARE}
        return {"step": self.step} | long


@dataclass(slots=True)
class _Seen:
    """Of the steps so far."""

    walls: list[float] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    learnt: list[float | None] = field(default_factory=list)
    """Operations of each step's distillation."""
    sampled: list[float | None] = field(default_factory=list)


def measure_whole_steps(recipe: Recipe, steps: int, console: Console, *, shape: str | None = None) -> StepCost:
    """So many steps of the recipe after one that is not measured. `shape`: of random weights in place of the recipe's model.

    Raises PMDError.
    """
    if recipe.distill.parallel != "none":
        raise RunError("pmd bench step measures one process.", "Leave out distill.parallel.")
    with tempfile.TemporaryDirectory(prefix="pmd-bench-") as scratch:
        recipe = _shortened(recipe, steps, Path(scratch))
        if shape is not None:
            recipe = _with_random_weights(recipe, shape, Path(scratch), console)
        quiet, warned = io.StringIO(), io.StringIO()
        with console.stage(f"measuring {steps} steps"):
            seen = _run(recipe, Console(quiet, warned))
    device = choose_device(getattr(recipe.policy, "device", "auto"))
    machine = machine_name(device)
    half = str(choose_dtype(getattr(recipe.policy, "dtype", "auto"), device)) == "torch.bfloat16"
    peak = next((rate for name, rate in PEAKS.items() if name in machine), None) if half else None
    said = dict.fromkeys(line.removeprefix("warning: ") for line in warned.getvalue().splitlines() if line.strip())
    return _cost(seen, machine, peak, tuple(said))


def _shortened(recipe: Recipe, steps: int, folder: Path) -> Recipe:
    evaluation = recipe.evaluate.model_copy(update={"every": 0})
    update = {"name": "bench", "steps": steps + 1, "runs": folder, "evaluate": evaluation, "track": ()}
    return recipe.model_copy(update=update)


def _with_random_weights(recipe: Recipe, shape: str, folder: Path, console: Console) -> Recipe:
    if isinstance(recipe.policy, ScriptedPolicySection):
        raise RunError("A scripted policy has no weights.", "Leave out --shape, or set policy.type=local.")
    with console.stage(f"making random weights of {shape}"):
        write_random_model(shape, folder / shape, device=recipe.policy.device, dtype=recipe.policy.dtype)
    policy = recipe.policy.model_copy(update={"model": str(folder / shape)})
    return recipe.model_copy(update={"policy": policy})


def _run(recipe: Recipe, console: Console) -> _Seen:
    """The recipe's steps; its end, which evaluates, is not reached."""
    ready = prepare(recipe, load_problems(recipe.problems), console, Given())
    seen, distilled = _Seen(), list[float]()
    with ExitStack() as opened:
        opened.callback(ready.policy.close)
        run = RunDir.create(recipe)
        opened.callback(unlock_folder, run.path)
        for name in ("base", "base_with_memory"):  # what is there is not measured
            run.write_json(f"evaluation/{name}.json", {"problems": 0})
        memory = opened.enter_context(open_run_memory(run, ready, console))
        parts = open_in(run, ready, memory)
        _count(parts, distilled)
        before = time.perf_counter()
        going = practise(parts, run, console)
        opened.callback(going.close)  # type: ignore[attr-defined]
        for step in going:
            now = time.perf_counter()
            seen.walls.append(now - before)
            seen.steps.append(step)
            seen.learnt.append(sum(distilled) if parts.trainer is not None else None)
            seen.sampled.append(_sampled(parts, step))
            if step.number + 1 == step.steps:
                break
            distilled.clear()
            before = time.perf_counter()
    return seen


def _count(parts: Parts, distilled: list[float]) -> None:
    """Have the operations of what the trainer is given added to the list."""
    trainer = parts.trainer
    if trainer is None:
        return
    plain = trainer.step

    def step(examples: Sequence[Example], *, rollouts: int | None = None) -> dict[str, float]:
        found = plain(examples, rollouts=rollouts)
        distilled.append(flops(trainer.model, examples, shared=not trainer.forward.unshared))
        return found

    trainer.step = step  # type: ignore[method-assign]


def _sampled(parts: Parts, step: Step) -> float | None:
    if parts.trainer is None:
        return None
    rollouts = [r for group in step.rollouts_PG for r in group]
    rows = [(*r.prompt_ids, *r.completion_ids) for r in rollouts]
    return sampling_flops(parts.trainer.model, rows, sum(sum(r.written) for r in rollouts))


def _cost(seen: _Seen, machine: str, peak: float | None, said: tuple[str, ...]) -> StepCost:
    """Of all steps but the first."""
    steps, walls = seen.steps[1:], seen.walls[1:]
    if not steps:
        raise RunError("The recipe made no second step.", "Give it more problems.")
    columns: dict[str, list[float]] = {}
    for name in dict.fromkeys(name for step in steps for name in step.metrics["stage_seconds"]):
        columns[name] = [float(step.metrics["stage_seconds"].get(name, 0.0)) for step in steps]
    columns[REST] = [
        max(0.0, w - sum(step.metrics["stage_seconds"].values())) for w, step in zip(walls, steps, strict=True)
    ]
    tokens = [sum(sum(r.written) for group in step.rollouts_PG for r in group) for step in steps]
    learnt = [float(step.metrics.get("tokens", 0.0)) for step in steps]
    work: dict[str, tuple[Sequence[float], Sequence[float | None]]] = {
        "attempt": (tokens, seen.sampled[1:]),
        "distil": (learnt, seen.learnt[1:]),
    }
    whole = Figure.of(walls)
    stages = {}
    for name, seconds in columns.items():
        figure = Figure.of(seconds)
        counted, operations = work.get(name, ((), ()))
        speed = median(counted) / figure.median if counted and figure.median else None
        done = median(n for n in operations if n is not None) if operations and None not in operations else None
        mfu = done / figure.median / peak if done and peak and figure.median else None
        stages[name] = Stage(figure, figure.median / whole.median, speed, done, mfu)
    rollouts = [sum(map(len, step.rollouts_PG)) for step in steps]
    return StepCost(machine, peak, int(median(rollouts)), int(median(tokens)), whole, stages, said)
