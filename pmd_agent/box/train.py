"""Pretraining the policy in the box, from nothing, on two CPU cores: `pmd box build`.

First the drill alone, until look-ups work (they do not form inside the full mix), then the mix, then the learning rate
falls to zero. Matrices are updated by Muon, embeddings and norms by AdamW. The loss is the mean cross-entropy in nats over
the tokens marked as learnt. Two processes of one thread each, gradients summed: on small matrices that is about twice as
fast as two threads.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from pmd_agent.box.documents import MAKERS, Document, pairs
from pmd_agent.box.tokenizer import END, START, train_tokenizer

DRILL_MIX = {"pairs": 1.0}
MIX = {  # shares of documents
    "pairs": 0.02,
    "drill": 0.03,
    "arithmetic": 0.12,
    "plain": 0.06,
    "chat": 0.05,
    "memory": 0.22,
    "elimination": 0.14,
    "contrast": 0.10,
    "postmortem": 0.05,
    "abstract": 0.13,
    "choice": 0.04,
    "choice_memory": 0.01,
    "choice_reflection": 0.02,
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
    attention_scale: float = 1.0
    """Initial weight of the query and key norms: attention can be sharp from the start."""
    warmup: int = 20
    tokens_per_step: int = 8192
    """Padded tokens over all processes."""
    drill_accuracy: float = 0.98
    """The gate: the mix starts when the mean over the last 20 steps reaches it."""
    drill_steps: int = 1500
    """At most so many steps of drill."""
    mix_steps: int = 1600
    decay: float = 0.4
    """The last share of the mix, over which the learning rate falls linearly to zero."""
    processes: int = 2


def segments(document: Document) -> Iterator[tuple[str, bool]]:
    """The document in the chat template, in pieces; True where the loss is taken."""
    for role, content in document.turns:
        if not role:  # bare text
            yield from content  # type: ignore[misc]
            continue
        yield f"{START}{role}\n", False
        if isinstance(content, str):
            learn = role == "assistant"
            yield content, learn
        else:
            learn = True
            yield from content
        yield END, learn
        yield "\n", False


class Stream:
    """Documents without end, tokenised, in micro-batches of like length."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: str, context: int) -> None:
        self.tokenizer, self.rng, self.context = tokenizer, random.Random(seed), context

    def encode(self, document: Document) -> tuple[list[int], list[bool], str]:
        pieces = list(segments(document))
        encoded = self.tokenizer([text for text, _ in pieces]).input_ids
        ids = [i for piece in encoded for i in piece][: self.context]
        learn = [flag for piece, (_, flag) in zip(encoded, pieces, strict=True) for _ in piece][: self.context]
        return ids, learn, document.kind

    def step(
        self, mix: dict[str, float], tokens: int, micro: int, known: int
    ) -> list[list[tuple[list[int], list[bool], str]]]:
        kinds, weights = list(mix), list(mix.values())
        found, total = [], 0
        while total < tokens:
            kind = self.rng.choices(kinds, weights)[0]
            found.append(self.encode(pairs(self.rng, known) if kind == "pairs" else MAKERS[kind](self.rng)))
            total += len(found[-1][0])
        found.sort(key=lambda d: len(d[0]))
        batches: list[list[tuple[list[int], list[bool], str]]] = [[]]
        for document in found:
            if (len(batches[-1]) + 1) * len(document[0]) > micro and batches[-1]:
                batches.append([])
            batches[-1].append(document)
        return batches


def collate(batch: list[tuple[list[int], list[bool], str]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) ids and learn flags, padded on the right: causal attention then needs no mask."""
    width = max(len(ids) for ids, _, _ in batch)
    ids = torch.full((len(batch), width), pad)
    learn = torch.zeros((len(batch), width), dtype=torch.bool)
    for row, (tokens, flags, _) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        learn[row, : len(flags)] = torch.tensor(flags)
    return ids, learn


def new_model(recipe: BoxRecipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    torch.manual_seed(recipe.seed)
    model = Qwen3ForCausalLM(
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
    for name, parameter in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            torch.nn.init.constant_(parameter, recipe.attention_scale)
    return model


def make_tokenizer(recipe: BoxRecipe, documents: int = 200) -> PreTrainedTokenizerFast:
    rng = random.Random(f"tokenizer/{recipe.seed}")
    texts = ("".join(text for text, _ in segments(maker(rng))) for maker in MAKERS.values() for _ in range(documents))
    return train_tokenizer(texts, recipe.vocabulary, recipe.context)


def train(rank: int, recipe: BoxRecipe, out: str, port: int) -> None:
    """One process of the training; rank 0 writes the log and the model."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=recipe.processes)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    model = new_model(recipe, tokenizer)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    vectors = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(vectors, lr=recipe.vector_lr, betas=(0.9, 0.95), weight_decay=0.0)
    stream = Stream(tokenizer, f"box/{recipe.seed}/{rank}", recipe.context)
    log = (Path(out) / "build.jsonl").open("a") if rank == 0 else None

    started, tokens_seen, recent = time.time(), 0, [0.0] * 20
    mix_start: int | None = None
    step = 0
    known = 2
    while True:
        if mix_start is None and (
            (known >= 16 and sum(recent) / len(recent) >= recipe.drill_accuracy) or step >= recipe.drill_steps
        ):
            mix_start = step
        if mix_start is not None and step - mix_start >= recipe.mix_steps:
            break
        scale = min(1.0, (step + 1) / recipe.warmup)
        if mix_start is not None:
            left = (recipe.mix_steps - (step - mix_start)) / (recipe.mix_steps * recipe.decay)
            scale *= min(1.0, left)
        for optimiser, lr in ((muon, recipe.matrix_lr), (adam, recipe.vector_lr)):
            optimiser.param_groups[0]["lr"] = lr * scale

        mix = DRILL_MIX if mix_start is None else MIX
        per_kind: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        share = recipe.tokens_per_step // recipe.processes
        for batch in stream.step(mix, share, micro=max(2048, share // 2), known=known if mix_start is None else 16):
            ids, learn = collate(batch, tokenizer.pad_token_id)
            hidden = model.model(input_ids=ids).last_hidden_state[:, :-1][learn[:, 1:]]  # (N, width)
            logits, target = model.lm_head(hidden).float(), ids[:, 1:][learn[:, 1:]]
            losses = F.cross_entropy(logits, target, reduction="none")
            losses.sum().backward()
            hits = (logits.argmax(-1) == target).float()
            rows = torch.arange(len(batch))[:, None].expand_as(learn[:, 1:])[learn[:, 1:]]
            for row, (_, _, kind) in enumerate(batch):
                mine = rows == row
                per_kind[kind][0] += float(losses.detach()[mine].sum())
                per_kind[kind][1] += float(hits[mine].sum())
                per_kind[kind][2] += float(mine.sum())
            tokens_seen += ids.numel() * recipe.processes

        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        stats = torch.tensor([x for kind in MAKERS for x in per_kind[kind]])
        flat = torch.cat([g.reshape(-1) for g in gradients] + [stats])
        dist.all_reduce(flat)
        kinds = dict(zip(MAKERS, flat[-len(stats) :].view(-1, 3).tolist(), strict=True))
        total = sum(v[2] for v in kinds.values())
        offset = 0
        for gradient in gradients:
            gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient) / total)
            offset += gradient.numel()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in (muon, adam):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        drill_hits, drill_total = kinds["pairs"][1:]
        if drill_total:
            recent = [*recent[1:], drill_hits / drill_total]
            if mix_start is None and known < 16 and sum(recent) / len(recent) > 0.95:
                known, recent = known + 2, [0.0] * 20
        if log and (step % 25 == 0 or mix_start == step):
            entry = {
                "step": step,
                "stage": f"drill {known}" if mix_start is None else "mix",
                "tokens": tokens_seen,
                "seconds": round(time.time() - started),
                "tokens_per_second": round(tokens_seen / (time.time() - started)),
                "loss": round(sum(v[0] for v in kinds.values()) / total, 4),
                "accuracy": {k: round(v[1] / v[2], 4) for k, v in kinds.items() if v[2]},
            }
            log.write(json.dumps(entry) + "\n")
            log.flush()
            if step % 500 == 0:
                model.save_pretrained(out)
        step += 1

    if rank == 0:
        model.to(torch.bfloat16).save_pretrained(out)
    dist.barrier()
    dist.destroy_process_group()


def build(out: Path, recipe: BoxRecipe) -> None:
    """Writes tokenizer, model (bf16 safetensors), recipe and log to `out`."""
    import socket

    out.mkdir(parents=True, exist_ok=True)
    make_tokenizer(recipe).save_pretrained(out)
    (out / "build.json").write_text(json.dumps(asdict(recipe) | {"mix": MIX, "drill_mix": DRILL_MIX}, indent=1))
    (out / "build.jsonl").unlink(missing_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(train, args=(recipe, str(out), port), nprocs=recipe.processes)
