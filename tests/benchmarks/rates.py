"""How far a rate moves a real model: all weights beside a LoRA adapter. python -m tests.benchmarks.rates MODEL GSM8K_TRAIN_JSONL

Distils six updates towards the model itself reading the solution (JSD), on a few of its own answers, and prints a line each: the
loss on them, and how far answers to other problems have moved, KL(before || after) in nats a token.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation.divergences import forward_kl, jsd
from pmd_agent.models.adapters import attach_lora
from pmd_agent.models.loading import load_base, load_tokenizer

TRAINED, OTHERS, TOKENS, UPDATES = 4, 3, 24, 6
RATES = (("all weights", 1e-5), ("LoRA", 1e-5), ("LoRA", 1e-4), ("LoRA", 3e-4))
Attempt = tuple[list[int], list[int], list[int]]
"""Ids of the student's prompt, the teacher's and the answer."""


def logits(model: Any, prompt: list[int], answer: list[int]) -> Tensor:
    """(N, V) at the answer."""
    found: Tensor = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()
    return found


def attempts(model: Any, tokenizer: Any, rows: list[dict[str, str]]) -> Iterator[Attempt]:
    def encode(text: str) -> list[int]:
        chat = [{"role": "user", "content": text}]
        ids: list[int] = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        return ids

    for row in rows:
        prompt = encode(row["question"])
        reading = encode(f"A correct solution:\n{row['answer']}\n\nNow solve this problem:\n{row['question']}")
        drawn = model.generate(
            torch.tensor([prompt]), max_new_tokens=TOKENS, min_new_tokens=TOKENS,
            do_sample=True, temperature=1.0, top_p=1.0, top_k=0, pad_token_id=0,
        )  # fmt: skip
        yield prompt, reading, drawn[0, len(prompt) :].tolist()


def learnt(model: Any, kind: str, rate: float, batch: list[Attempt], teachers: list[Tensor]) -> Any:
    """The model after its updates."""
    if kind == "LoRA":
        model = attach_lora(model, rank=32, alpha=64, dropout=0.0, targets="all-linear", seed=0, teacher=False)
    weights = [p.requires_grad_(kind != "LoRA" or p.requires_grad) for p in model.parameters()]
    weights = [p for p in weights if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01)
    for _ in range(UPDATES):
        optimiser.zero_grad()
        for (prompt, _, answer), teacher in zip(batch, teachers, strict=True):
            (jsd(logits(model, prompt, answer), teacher).mean() / len(batch)).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    return model


@torch.no_grad()
def loss_of(model: Any, batch: list[Attempt], teachers: list[Tensor]) -> float:
    each = [jsd(logits(model, p, a), t).mean() for (p, _, a), t in zip(batch, teachers, strict=True)]
    return float(torch.stack(each).mean())


def main() -> None:
    folder, rows = sys.argv[1], [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()[:200]]
    torch.manual_seed(0)

    def load() -> Any:
        return load_base(folder, dtype="float32", device="cpu")

    base = load()
    short = sorted(rows, key=lambda row: len(row["question"]))[: TRAINED + OTHERS]
    with torch.no_grad():
        made = list(attempts(base, load_tokenizer(folder), short))
        batch, others = made[:TRAINED], made[TRAINED:]
        teachers = [logits(base, reading, answer) for _, reading, answer in batch]
        before = [logits(base, prompt, answer) for prompt, _, answer in others]
    start = loss_of(base, batch, teachers)
    for kind, rate in RATES:
        model = learnt(load(), kind, rate, batch, teachers)
        with torch.no_grad():
            moved = [forward_kl(logits(model, p, a), b).mean() for (p, _, a), b in zip(others, before, strict=True)]
        end, kl = loss_of(model, batch, teachers), float(torch.stack(moved).mean())
        print(
            json.dumps({"trained": kind, "rate": rate, "loss": [round(start, 4), round(end, 4)], "kl": round(kl, 5)}),
            flush=True,
        )


if __name__ == "__main__":
    main()
