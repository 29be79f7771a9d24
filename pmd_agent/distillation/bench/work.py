"""What is measured: a model, and a batch of rollouts with their teachers' prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from pmd_agent.distillation.batches import student_row, teacher_row
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.forest import Forest, plant
from pmd_agent.models.adapters import attach_lora
from pmd_agent.models.loading import choose_device, choose_dtype, load_base
from pmd_agent.recipe.distill import DistillSection, LoraSection

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-8b": {
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
    },
    "qwen3-0.6b": {
        "vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Published configurations, for random weights: speed and memory do not depend on their values."""


@dataclass(frozen=True, slots=True)
class Work:
    """The measured step. Lengths are in tokens."""

    model: str = "box"
    """box, a model folder, a hub id, or one of SHAPES with random weights."""
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
    batch_tokens: int = 65_536
    checkpointing: bool | None = None
    """As distill.gradient_checkpointing."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def settings(self) -> DistillSection:
        """SDPO's published loss, an EMA teacher."""
        return DistillSection(
            batch_tokens=self.batch_tokens,
            gradient_checkpointing=self.checkpointing,
            lora=LoraSection(rank=self.rank, alpha=2 * self.rank),
        )


def model_of(work: Work) -> Any:
    """With a fresh adapter and its EMA teacher. Raises PolicyError."""
    base = _random(work) if work.model in SHAPES else load_base(work.model, dtype=work.dtype, device=work.device)
    return attach_lora(
        base, rank=work.rank, alpha=2 * work.rank, dropout=0.0, targets="all-linear", seed=0, teacher=True
    )


def _random(work: Work) -> Any:
    from transformers import AutoModelForCausalLM, Qwen3Config

    device = choose_device(work.device)
    config = Qwen3Config(**SHAPES[work.model], max_position_embeddings=40_960)
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(
            config, dtype=choose_dtype(work.dtype, device), attn_implementation="sdpa"
        )
    return model.eval().requires_grad_(False)


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
    config = model.get_base_model().config.get_text_config()
    layers = [
        p.numel()
        for name, p in model.named_parameters()
        if p.dim() == 2 and ".layers." in name and ".teacher." not in name
    ]
    head = config.vocab_size * config.hidden_size
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    written = sum(sum(e.written) for e in batch)
    total = 0.0
    for row, passes in ((student_row, 2), (teacher_row, 1)):
        rows = [row(e) for e in batch]
        forests = [plant(rows)] if shared else [plant([r]) for r in rows]
        attended = sum(_pairs(f) for f in forests) * config.num_hidden_layers * 4 * width
        # The backward pass of attention has four products where the forward pass has two.
        total += 2 * sum(layers) * sum(len(f.ids) for f in forests) * passes + attended * (3 if passes == 2 else 1)
        total += 2 * head * written * passes
    return total


def _pairs(forest: Forest) -> int:
    """How many (token, token it attends to) there are: a token at position p attends to p + 1."""
    return sum(p + 1 for p in forest.positions)
