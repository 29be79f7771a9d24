"""Pretraining the policy in the box, from nothing, on two CPU cores.

First drills, until look-ups and then elimination work (neither forms inside the full mix), then the mix, at whose end the
learning rate falls to zero. Matrices are updated by Muon, embeddings and norms by AdamW. The loss is the mean cross-entropy
in nats over the tokens marked as learnt. Several processes of one thread each, gradients summed: on matrices this small that
is faster than threads.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.multiprocessing.spawn import spawn
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from recipes.box.documents import MAKERS
from recipes.box.stream import Encoded, Stream, collate, segments
from recipes.box.tokenizer import train_tokenizer

LEVELS = {"pairs": (2, 4, 6, 8, 10, 12, 14, 16), "strikes": (1, 2, 3)}
"""The drills, one after another: how much is to be kept in mind (pairs; operators)."""
REPEATED = 0.2
"""Share of the drills before, so that they are not forgotten."""
MIX = {  # shares of documents
    "pairs": 0.02,
    "strikes": 0.05,
    "drill": 0.05,
    "arithmetic": 0.15,
    "plain": 0.06,
    "chat": 0.05,
    "memory": 0.25,
    "elimination": 0.11,
    "contrast": 0.09,
    "postmortem": 0.04,
    "abstract": 0.07,
    "choice": 0.03,
    "choice_memory": 0.01,
    "choice_reflection": 0.01,
    "choice_abstraction": 0.01,
}


@dataclass(frozen=True, slots=True)
class BoxRecipe:
    """Everything that decides what is built."""

    seed: int = 0
    vocabulary: int = 1536
    context: int = 2048
    width: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    rope_theta: float = 10_000.0
    matrix_lr: float = 0.004
    """Muon, scaled to match AdamW's update size."""
    vector_lr: float = 0.004
    """AdamW: embeddings and norms."""
    warmup: int = 20
    tokens_per_step: int = 8192
    """Over all processes."""
    drill_pass: float = 0.95
    """A drill's next level comes when the mean over 20 steps passes this."""
    drill_accuracy: float = 0.98
    """The gate: a drill is over when that mean reaches this at its last level."""
    drill_steps: int = 1500
    """All drills are over after so many steps in any case."""
    mix_steps: int = 2200
    decay: float = 0.4
    """The last share of the mix, over which the learning rate falls linearly to zero."""
    processes: int = 2


class Drills:
    """The drills, and how far they have come."""

    def __init__(self, recipe: BoxRecipe) -> None:
        self.recipe, self.kinds = recipe, list(LEVELS)
        self.known = {kind: levels[0] for kind, levels in LEVELS.items()}
        self.now, self.recent = 0, [0.0] * 20

    @property
    def kind(self) -> str:
        return self.kinds[self.now]

    def mix(self) -> dict[str, float]:
        before = self.kinds[: self.now]
        return {self.kind: 1.0} | {kind: REPEATED / len(before) for kind in before}

    def update(self, hits: float, total: float) -> None:
        self.recent = [*self.recent[1:], hits / max(1.0, total)]
        mean, levels = sum(self.recent) / 20, LEVELS[self.kind]
        level = levels.index(self.known[self.kind])
        if level + 1 < len(levels):
            if mean > self.recipe.drill_pass:
                self.known[self.kind], self.recent = levels[level + 1], [0.0] * 20
        elif mean >= self.recipe.drill_accuracy:
            self.now, self.recent = self.now + 1, [0.0] * 20

    def are_over(self, step: int) -> bool:
        return self.now == len(self.kinds) or step >= self.recipe.drill_steps


def build(out: Path, recipe: BoxRecipe, report: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Writes tokenizer, model (bf16 safetensors), settings (build.json) and log (build.jsonl) to `out`.

    `report` gets each line of the log as it is written.
    """
    out.mkdir(parents=True, exist_ok=True)
    make_tokenizer(recipe).save_pretrained(out)
    (out / "build.json").write_text(json.dumps(asdict(recipe) | {"levels": LEVELS, "mix": MIX}, indent=1))
    log = out / "build.jsonl"
    log.write_text("")
    workers = spawn(train, args=(recipe, str(out), _free_port()), nprocs=recipe.processes, join=False)
    shown, over = 0, False
    while not over:
        over = workers.join(timeout=2)
        lines = log.read_text().splitlines()
        for line in lines[shown:]:
            if report is not None:
                report(json.loads(line))
        shown = len(lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_tokenizer(recipe: BoxRecipe, documents: int = 200) -> PreTrainedTokenizerFast:
    """Merges learnt from so many documents of each kind."""
    rng = random.Random(f"tokenizer/{recipe.seed}")
    texts = ("".join(text for text, _ in segments(maker(rng))) for maker in MAKERS.values() for _ in range(documents))
    return train_tokenizer(texts, recipe.vocabulary, recipe.context)


def new_model(recipe: BoxRecipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    torch.manual_seed(recipe.seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=recipe.feed_forward,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            head_dim=recipe.width // recipe.heads,
            max_position_embeddings=recipe.context,
            rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
            tie_word_embeddings=True,
            initializer_range=0.02,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(rank: int, recipe: BoxRecipe, out: str, port: int) -> None:
    """One process of the training; rank 0 writes the log and the model."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=recipe.processes)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    model = new_model(recipe, tokenizer)
    optimisers = make_optimisers(model, recipe)
    stream = Stream(tokenizer, f"box/{recipe.seed}/{rank}", recipe.context)
    drills = Drills(recipe)
    full = {kind: levels[-1] for kind, levels in LEVELS.items()}
    share = recipe.tokens_per_step // recipe.processes
    step, drilled, tokens, started = 0, -1, 0, time.time()

    while drilled < 0 or step - drilled < recipe.mix_steps:
        if drilled < 0 and drills.are_over(step):
            drilled = step
        drilling = drilled < 0
        set_learning_rates(optimisers, recipe, step, None if drilling else step - drilled)
        sums = torch.zeros(len(MAKERS), 3)
        mix, known = (drills.mix(), drills.known) if drilling else (MIX, full)
        for batch in stream.step(mix, share, max(2048, share // 2), known):
            tokens += backward(model, batch, tokenizer.pad_token_id, sums) * recipe.processes
        sums = sum_gradients(model, sums)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, _ in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if rank == 0 and (step % 25 == 0 or step == drilled):
            stage = f"{drills.kind} {drills.known[drills.kind]}" if drilling else "mix"
            write_log(Path(out), stage, step, tokens, time.time() - started, sums)
        if drilling:
            _, hits, total = sums[list(MAKERS).index(drills.kind)].tolist()
            drills.update(hits, total)
        step += 1

    if rank == 0:
        model.to(dtype=torch.bfloat16)  # type: ignore[call-arg]
        model.save_pretrained(out)
    dist.barrier()
    dist.destroy_process_group()


def make_optimisers(model: Qwen3ForCausalLM, recipe: BoxRecipe) -> list[tuple[Any, float]]:
    """Each with its learning rate."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    vectors = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        (torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"), recipe.matrix_lr),
        (torch.optim.AdamW(vectors, betas=(0.9, 0.95), weight_decay=0.0), recipe.vector_lr),
    ]


def set_learning_rates(optimisers: list[tuple[Any, float]], recipe: BoxRecipe, step: int, mixed: int | None) -> None:
    """Linear warm-up, constant, and a linear fall to zero at the end of the mix (`mixed`: steps into it)."""
    scale = min(1.0, (step + 1) / recipe.warmup)
    if mixed is not None:
        scale *= min(1.0, (recipe.mix_steps - mixed) / (recipe.mix_steps * recipe.decay))
    for optimiser, lr in optimisers:
        optimiser.param_groups[0]["lr"] = lr * scale


def backward(model: Qwen3ForCausalLM, batch: list[Encoded], pad: int, sums: torch.Tensor) -> int:
    """Adds the batch's gradients, and to `sums` (kinds, 3) its loss, hits and learnt tokens. Returns padded tokens."""
    ids, learn = collate(batch, pad)
    here = learn[:, 1:]
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1][here]  # (N, width): where something is learnt
    logits, target = model.lm_head(hidden).float(), ids[:, 1:][here]
    losses = F.cross_entropy(logits, target, reduction="none")
    losses.sum().backward()
    kinds = list(MAKERS)
    kind_of_row = torch.tensor([kinds.index(document.kind) for document in batch])
    kind_N = kind_of_row[:, None].expand_as(here)[here]
    found = torch.stack([losses.detach(), (logits.argmax(-1) == target).float(), torch.ones_like(losses)], 1)
    sums.index_add_(0, kind_N, found)
    return ids.numel()


def sum_gradients(model: Qwen3ForCausalLM, sums: torch.Tensor) -> torch.Tensor:
    """Gradients of the mean loss over all processes, in one message with the sums, which are returned in total."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    message = torch.cat([*(g.reshape(-1) for g in gradients), sums.reshape(-1)])
    dist.all_reduce(message)
    everyones = message[-sums.numel() :].view_as(sums)
    parts = message[: -sums.numel()].split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient) / everyones[:, 2].sum())
    return everyones


def write_log(out: Path, stage: str, step: int, tokens: int, seconds: float, sums: torch.Tensor) -> None:
    entry = {
        "step": step,
        "stage": stage,
        "tokens": tokens,
        "seconds": round(seconds),
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "loss": round(float(sums[:, 0].sum() / sums[:, 2].sum()), 4),
        "accuracy": {k: round(h / n, 4) for k, (_, h, n) in zip(MAKERS, sums.tolist(), strict=True) if n},
    }
    with (out / "build.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")
