"""What reading strategies and lessons does to the policy's belief in given attempts: measured, nothing learnt.

The attempts are known by their texts, so they are tokenised again; training never does that, a measurement may.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

from pmd_agent.distillation.lm_head import body_of, lm_head_of
from pmd_agent.distillation.policy_gradient import token_logprobs
from pmd_agent.distillation.teacher_page import Messages, Style, render
from pmd_agent.types import Attempt, ProblemView

ROW_TOKENS = 16_384
"""Tokens, padding included, in one forward pass."""
POSITIONS = 1024
"""Whose logits exist at one time."""


class Likelihood:
    """Asks a model in this process, with the adapter that is active. Threads take turns."""

    def __init__(
        self,
        model: Any,
        encode: Callable[[Messages], list[int]],
        tokenizer: Any,
        *,
        context: int,
        special_tokens: Collection[str] = (),
        style: Style = "box",
    ) -> None:
        """`encode`: the policy's, from messages to the ids of a prompt. `context`: tokens that the model reads in all."""
        self._model, self._encode, self._tokenizer = model, encode, tokenizer
        self._context, self._special_tokens, self._style = context, special_tokens, style
        self._base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._head = lm_head_of(self._base)
        self._lock = threading.Lock()

    def shifts(
        self, problem: ProblemView, strategies: Sequence[str], lessons: Sequence[str], attempts: Sequence[Attempt]
    ) -> list[float]:
        """Of each attempt: its mean log-probability a token with these before the problem, less that without. Nats.

        The end of an attempt that does not fit is not looked at; where nothing fits, reading does nothing: 0.
        """
        page = render(
            problem.prompt, [], list(strategies), list(lessons), special_tokens=self._special_tokens, style=self._style
        )
        bare, reading = (self._prompt(problem, text) for text in (problem.prompt, page))
        room = max(0, self._context - max(len(bare), len(reading)))
        texts = [self._tokenizer(a.text, add_special_tokens=False).input_ids[:room] for a in attempts]
        rows = [(prompt, ids) for prompt in (reading, bare) for ids in texts if ids]
        with self._lock:
            means = iter(self._means(rows))
        filled = [[next(means) if ids else 0.0 for ids in texts] for _ in range(2)]
        return [read - plain for read, plain in zip(*filled, strict=True)]

    def _prompt(self, problem: ProblemView, text: str) -> list[int]:
        system = [{"role": "system", "content": problem.system}] if problem.system else []
        return self._encode([*system, {"role": "user", "content": text}])

    def _means(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        """Mean log-probability a token of each completion after its prompt."""
        order = sorted(range(len(rows)), key=lambda i: -sum(map(len, rows[i])))
        found: dict[int, float] = {}
        was_training = self._model.training
        self._model.eval()
        while order:
            width = sum(map(len, rows[order[0]]))
            batch, order = order[: max(1, ROW_TOKENS // width)], order[max(1, ROW_TOKENS // width) :]
            found |= dict(zip(batch, self._read([rows[i] for i in batch], width), strict=True))
        self._model.train(was_training)
        return [found[i] for i in range(len(rows))]

    @torch.no_grad()
    def _read(self, rows: Sequence[tuple[list[int], list[int]]], width: int) -> list[float]:
        """Rows are padded on the right: under causal attention padding cannot reach what comes before it."""
        device = self._base.get_input_embeddings().weight.device
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        for row, (prompt, completion) in enumerate(rows):
            ids[row, : len(prompt) + len(completion)] = torch.tensor([*prompt, *completion])
        ids = ids.to(device)
        half = self._base.dtype in (torch.bfloat16, torch.float16)
        means = []
        with torch.autocast(device.type, self._base.dtype, enabled=half):
            hidden = body_of(self._base)(input_ids=ids, use_cache=False).last_hidden_state
            for row, (prompt, completion) in enumerate(rows):
                start, end = len(prompt), len(prompt) + len(completion)
                total = 0.0
                for first in range(start, end, POSITIONS):
                    last = min(end, first + POSITIONS)
                    logits = self._head(hidden[row, first - 1 : last - 1])
                    total += float(token_logprobs(logits, ids[row, first:last]).sum())
                means.append(total / len(completion))
        return means
