"""`pmd bench distill`: how long a step of distillation takes on this machine, and how much memory.

The model is real, the tokens are random: neither speed nor memory depends on what they say.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pmd_agent.distillation.batches import student_row, teacher_row
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.forest import Forest, plant
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.errors import RunError
from pmd_agent.models.adapters import attach_lora
from pmd_agent.models.loading import choose_device, choose_dtype, load_base
from pmd_agent.recipe.distill import DistillSection, LoraSection

STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Work:
    """The measured step. Lengths are in tokens."""

    model: str = "box"
    """box, a model folder or a hub id."""
    problems: int = 1
    samples: int = 8
    """Rollouts of each problem."""
    prompt: int = 512
    teacher_prompt: int = 2048
    """The problem's `prompt` included."""
    completion: int = 1024
    steps: int = 3
    """Measured, after one that is not."""
    rank: int = 32
    device: str = "auto"
    dtype: str = "auto"
    batch_tokens: int | None = None
    """As distill.batch_tokens."""
    checkpointing: bool | None = None
    """As distill.gradient_checkpointing."""
    share_prefixes: bool = True
    """As distill.share_prefixes."""

    def settings(self) -> DistillSection:
        """SDPO's published loss, an EMA teacher."""
        return DistillSection(
            batch_tokens=self.batch_tokens,
            gradient_checkpointing=self.checkpointing,
            share_prefixes=self.share_prefixes,
            lora=LoraSection(rank=self.rank, alpha=2 * self.rank),
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step."""

    seconds: float
    tokens: int
    """Of all rollouts."""
    model_bytes: int
    """Weights, adapters included."""
    peak_bytes: int
    """At most beyond those: activations, gradients, the optimiser."""
    flops: float
    """What the step has to do (`flops`)."""
    loss: float
    """Of the first step, before anything was learnt; nats per token."""
    unshared: str
    """Why shared beginnings were computed for every rollout; "" where they were not."""
    slow: str = ""
    """Why attention was not one call a layer, where a GPU's kernel was tried and failed."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the machine gives at most, here and now."""

    flops: float
    """Operations a second of large matrix multiplications."""
    name: str
    dtype: str


def measure_step(work: Work, base: Any = None) -> Cost:
    """The fastest of `work.steps`, of `base` or the model that `work` names.

    Raises PolicyError, and RunError where a GPU's memory does not suffice.
    """
    model = with_adapters(base or load_base(work.model, dtype=work.dtype, device=work.device), work)
    device = model.get_base_model().device
    batch = batch_of(work, model.get_base_model().config.get_text_config().vocab_size)
    trainer = Trainer(model, work.settings(), pad_id=0, seed=0)
    peak = Peak(device)
    try:
        loss = trainer.step(batch)["loss"]
        seconds = timed(lambda: trainer.step(batch), work.steps, device)
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"The step does not fit into this GPU's memory: {str(error).splitlines()[0]}",
            "Take a smaller --batch-tokens, --checkpointing, or shorter prompts and rollouts.",
        ) from None
    unshared = trainer.forward.unshared
    return Cost(
        seconds=seconds,
        tokens=sum(len(e.completion_ids) for e in batch),
        model_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
        peak_bytes=peak.taken(),
        flops=flops(model, batch, shared=not unshared),
        loss=loss,
        unshared=unshared,
        slow=trainer.forward.sharing.slow,
    )


def measure_ceiling(work: Work) -> Ceiling:
    """Raises PolicyError."""
    device = choose_device(work.device)
    dtype = choose_dtype(work.dtype, device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return Ceiling(_matmul_flops(device, dtype), name, str(dtype).removeprefix("torch."))


def with_adapters(base: Any, work: Work) -> Any:
    """A fresh adapter and its EMA teacher."""
    return attach_lora(
        base, rank=work.rank, alpha=2 * work.rank, dropout=0.0, targets="all-linear", seed=0, teacher=True
    )


def batch_of(work: Work, vocabulary: int) -> list[Example]:
    """Random ids. A group shares its prompt and its teacher's; every rollout has the same length.

    Every token counts as unlikely when it was sampled, so that each importance ratio is at its clip.
    """
    generator = torch.Generator().manual_seed(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, vocabulary, (n,), generator=generator).tolist())

    found = []
    for _ in range(work.problems):
        problem, memory = ids(work.prompt), ids(work.teacher_prompt - work.prompt)
        for n in range(work.samples):
            found.append(
                Example(
                    student_prompt_ids=problem,
                    teacher_prompt_ids=memory + problem,
                    completion_ids=ids(work.completion),
                    written=(True,) * work.completion,
                    logprobs=(-50.0,) * work.completion,
                    correct=n % 2 == 0,
                )
            )
    return found


def flops(model: Any, batch: Sequence[Example], *, shared: bool) -> float:
    """Floating-point operations that a step has to do: multiplications and additions of the model's matrices and attention.

    The student's forward pass and the gradient of its activations, the teacher's forward pass. The base is frozen, so its
    weights have no gradient; the adapter's, and everything that is computed again or only padded, are not counted.
    `shared`: tokens with the same beginning count once, as they are computed once.
    """
    total = 0.0
    for row, passes in ((student_row, 2), (teacher_row, 1)):
        read = [(r, sum(e.written)) for e in batch if (r := row(e))]  # no teacher is asked of some
        products, attended, head = _forward(model, [r for r, _ in read], sum(n for _, n in read), shared)
        # The backward pass of attention has four products where the forward pass has two.
        total += (products + head) * passes + attended * (3 if passes == 2 else 1)
    return total


def sampling_flops(model: Any, rows: Sequence[Sequence[int]], sampled: int) -> float:
    """The same of sampling: one forward pass over prompts and what was sampled, which is so many tokens in all.

    What rows have in common at the start counts once: a prompt is read once for all of its samples.
    """
    return sum(_forward(model, rows, sampled, shared=True))


def _forward(model: Any, rows: Sequence[Sequence[int]], written: int, shared: bool) -> tuple[float, float, float]:
    """Of one forward pass: the layers' matrices, attention, and the head at so many tokens."""
    config = model.get_base_model().config.get_text_config()
    layers = [
        p.numel()
        for name, p in model.named_parameters()
        if p.dim() == 2 and ".layers." in name and ".teacher." not in name
    ]
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    forests = [plant([tuple(row) for row in group]) for group in ([rows] if shared else [[r] for r in rows]) if group]
    tokens, pairs = sum(len(f.ids) for f in forests), sum(map(_pairs, forests))
    return (
        2.0 * sum(layers) * tokens,
        4.0 * width * config.num_hidden_layers * pairs,
        2.0 * config.vocab_size * config.hidden_size * written,
    )


def _pairs(forest: Forest) -> int:
    """How many (token, token it attends to) there are: a token at position p attends to p + 1."""
    return sum(p + 1 for p in forest.positions)


class Peak:
    """Memory taken at most since it was made, beyond what was held then, in bytes.

    On a GPU, of torch's allocator. Elsewhere, resident memory as the kernel counts it; where it cannot be reset (not Linux),
    the process's highest ever.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.held = torch.cuda.memory_allocated()
        else:
            if STATUS.exists():
                Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is held now
            self.held = _status("VmRSS") or _highest()

    def taken(self) -> int:
        if self._cuda:
            return int(torch.cuda.max_memory_allocated()) - self.held
        return (_status("VmHWM") or _highest()) - self.held


def _status(key: str) -> int | None:
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(step: Callable[[], Any], steps: int, device: torch.device) -> float:
    """Seconds of the fastest of so many, after one that is not measured: others use the machine too."""
    found = []
    for number in range(steps + 1):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number:
            found.append(time.perf_counter() - started)
    return min(found)


def _matmul_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the best of some multiplications of square matrices."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    best = timed(lambda: a @ b, 20, device)
    return 2 * n**3 / best
