"""Batched sampling from a causal language model, exact to the token.

A completion depends on its own seed, its prompt and the weights, not on what it happens to be batched with (up to rounding),
so a batch may be split or put together in any way. Equal prompts are read once: a group of rollouts shares one prefill.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pmd_agent.progress import Count, uncounted
from pmd_agent.types import Sampling


@dataclass(frozen=True, slots=True)
class Request:
    prompt_ids: tuple[int, ...]
    sampling: Sampling


@dataclass(slots=True)
class Answer:
    ids: list[int]
    logprobs: list[float]
    """Nats at temperature 1, before top-p."""
    ended: bool
    """True where an end-of-sequence token was produced (it is the last of `ids`)."""


def generate_all(
    model: Any,
    requests: Sequence[Request],
    *,
    eos_ids: Collection[int],
    pad_id: int,
    batch_tokens: int,
    count: Count = uncounted,
) -> list[Answer]:
    """Answers in the order of the requests, in batches of at most `batch_tokens` padded tokens. Each is counted as it ends."""

    def generated(batch: Sequence[int]) -> list[Answer]:
        return generate(model, [requests[j] for j in batch], eos_ids=eos_ids, pad_id=pad_id, count=count)

    order = sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt_ids), requests[i].prompt_ids))
    answers: dict[int, Answer] = {}
    batch: list[int] = []
    for i in order:
        width = len(requests[i].prompt_ids) + max(requests[j].sampling.max_tokens for j in [*batch, i])
        if batch and (len(batch) + 1) * width > batch_tokens:
            answers |= zip(batch, generated(batch), strict=True)
            batch = []
        batch.append(i)
    if batch:
        answers |= zip(batch, generated(batch), strict=True)
    return [answers[i] for i in range(len(requests))]


@torch.inference_mode()
def generate(
    model: Any, requests: Sequence[Request], *, eos_ids: Collection[int], pad_id: int, count: Count = uncounted
) -> list[Answer]:
    """One batch, all rows decoded together; rows that have ended are taken out as they become the majority."""
    device = next(model.parameters()).device
    unique = list(dict.fromkeys(request.prompt_ids for request in requests))
    width = max(map(len, unique))
    ids = torch.full((len(unique), width), pad_id, device=device)
    mask = torch.zeros((len(unique), width), dtype=torch.long, device=device)
    for row, prompt in enumerate(unique):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, width - len(prompt) :] = 1

    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
    place = {prompt: row for row, prompt in enumerate(unique)}
    rows = torch.tensor([place[request.prompt_ids] for request in requests], device=device)
    cache, logits, mask = out.past_key_values, out.logits[rows, -1], mask[rows]
    cache.batch_select_indices(rows)

    answers = [Answer([], [], False) for _ in requests]
    generators = [torch.Generator(device).manual_seed(request.sampling.seed) for request in requests]
    live = list(range(len(requests)))
    unended = len(live)
    while True:
        logprobs = torch.log_softmax(logits.float(), -1)
        chosen = _choose(logprobs, [requests[i].sampling for i in live], [generators[i] for i in live])
        picked = logprobs.gather(-1, chosen[:, None])[:, 0]
        going = []
        for row, (i, token, logprob) in enumerate(zip(live, chosen.tolist(), picked.tolist(), strict=True)):
            answer = answers[i]
            if answer.ended or len(answer.ids) >= requests[i].sampling.max_tokens:
                continue
            answer.ids.append(token)
            answer.logprobs.append(logprob)
            answer.ended = token in eos_ids
            if not answer.ended and len(answer.ids) < requests[i].sampling.max_tokens:
                going.append(row)
        if len(going) < unended:
            count(unended - len(going))
            unended = len(going)
        if not going:
            return answers
        if len(going) <= len(live) // 2:
            keep = torch.tensor(going, device=device)
            cache.batch_select_indices(keep)
            chosen, mask = chosen[keep], mask[keep]
            live = [live[row] for row in going]
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], -1)
        position = mask.sum(-1, keepdim=True) - 1
        out = model(
            input_ids=chosen[:, None], attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
        )
        logits = out.logits[:, -1]


def _choose(
    logprobs: torch.Tensor, samplings: Sequence[Sampling], generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """(B,) one token a row from (B, V) log-probabilities: greedy where the temperature is 0."""
    greedy = logprobs.argmax(-1)
    if all(s.temperature == 0 for s in samplings):
        return greedy
    column = logprobs.new_tensor
    temperature = column([s.temperature or 1.0 for s in samplings])[:, None]
    probs = torch.softmax(logprobs / temperature, -1)
    if any(s.top_p < 1 for s in samplings):
        ranked, order = probs.sort(-1, descending=True)
        outside = ranked.cumsum(-1) - ranked >= column([s.top_p for s in samplings])[:, None]
        probs = probs.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), 0.0)
    # argmax of p / Exponential(1) is a draw from p; each row has its own noise, from its own seed.
    noise = torch.stack(
        [torch.empty_like(row).exponential_(generator=g) for row, g in zip(probs, generators, strict=True)]
    )
    drawn = (probs / noise).argmax(-1)
    return torch.where(column([s.temperature for s in samplings]) == 0, greedy, drawn)
