"""The teacher's lessons absorbed by a LoRA adapter: one step on the student's own rollouts.

For each rollout the teacher reads memory + problem + the rollout, the student problem + the rollout; both give a distribution
at every token of the rollout, and the student moves towards the teacher. Logits are computed for those positions only, in
chunks that are recomputed in the backward pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pmd_agent.distillation.divergences import divergence
from pmd_agent.distillation.example import Example
from pmd_agent.recipe import Distill
from pmd_agent.weights import STUDENT, TEACHER, adapter_parameters, answering_as, copy_adapter

CHUNK = 1024
"""Positions whose logits exist at one time."""


class Trainer:
    """Owns the optimiser and the teacher's weights; the student's are the active adapter of `model`, changed in place."""

    def __init__(self, model: Any, settings: Distill, *, pad_id: int, seed: int) -> None:
        self.model, self.settings, self.pad_id, self.seed = model, settings, pad_id, seed
        self.steps = 0
        self.total_steps: int | None = None
        """The run's length, which a falling learning rate follows."""
        self._divergence = divergence(settings.divergence, settings.alpha)
        self._parameters = list(adapter_parameters(model, STUDENT).values())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=settings.lr, weight_decay=settings.weight_decay)

    def step(self, examples: Sequence[Example]) -> dict[str, float]:
        """Distil the batch in `updates` optimiser steps, then let the teacher follow. Returns metrics (nats per token)."""
        settings = self.settings
        if not examples:
            self.steps += 1
            return {"loss": 0.0, "tokens": 0.0}
        lr = self._lr()
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        torch.manual_seed(
            self.seed * 100_003 + self.steps
        )  # order and dropout: a resumed run draws what an unbroken one draws
        order = torch.randperm(len(examples)).tolist()
        sums = _Sums()
        norms = []
        for part in _split([examples[i] for i in order], settings.updates):
            total = max(1, sum(sum(e.written) for e in part))
            self._optimiser.zero_grad(set_to_none=True)
            for batch in _micro_batches(part, settings.batch_tokens):
                self._backward(batch, total, sums)
            norms.append(float(torch.nn.utils.clip_grad_norm_(self._parameters, settings.max_grad_norm)))
            self._optimiser.step()
        self.model.eval()
        if settings.teacher.type == "ema":
            copy_adapter(self.model, STUDENT, TEACHER, rate=settings.teacher.rate)
        self.steps += 1
        return sums.metrics() | {"grad_norm": sum(norms) / len(norms), "lr": lr}

    def _lr(self) -> float:
        """Of this step: the warm-up, then constant or falling to zero over `total_steps`."""
        scale = min(1.0, (self.steps + 1) / max(1, self.settings.warmup))
        if self.settings.schedule == "linear" and self.total_steps:
            scale *= max(0.0, 1.0 - self.steps / self.total_steps)
        return self.settings.lr * scale

    def _backward(self, batch: Sequence[Example], total: int, sums: _Sums) -> None:
        device = self._parameters[0].device
        targets = torch.cat([torch.tensor(e.completion_ids)[torch.tensor(e.written)] for e in batch]).to(device)
        self.model.eval()  # the teacher without dropout
        with torch.no_grad(), answering_as(self.model, self.settings.teacher.type):
            teacher_ND = self._hidden([(e.teacher_prompt_ids, e) for e in batch])
        self.model.train()
        student_ND = self._hidden([(e.student_prompt_ids, e) for e in batch])

        head = self.model.get_base_model().get_output_embeddings()
        losses, gains = [], []
        for s, t, target in zip(student_ND.split(CHUNK), teacher_ND.split(CHUNK), targets.split(CHUNK), strict=True):
            loss, gain = checkpoint(self._chunk, head, s, t, target, use_reentrant=False)
            losses.append(loss)
            gains.append(gain)
        loss_N = torch.cat(losses)
        (loss_N.sum() / total).backward()
        sums.add(batch, loss_N.detach(), torch.cat(gains))

    def _chunk(self, head: Any, student_ND: Tensor, teacher_ND: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) divergence, and (N,) how much more the teacher believes in the token than the student, in nats."""
        student_NV = head(student_ND)
        with torch.no_grad():
            teacher_NV = head(teacher_ND)
            t = torch.log_softmax(teacher_NV.float(), -1).gather(-1, target_N[:, None])[:, 0]
            s = torch.log_softmax(student_NV.detach().float(), -1).gather(-1, target_N[:, None])[:, 0]
        return self._divergence(student_NV, teacher_NV), t - s

    def _hidden(self, rows: Sequence[tuple[tuple[int, ...], Example]]) -> Tensor:
        """(N, D) last hidden states at the positions that predict the tokens which the policy wrote.

        Rows are padded on the right: under causal attention padding cannot reach what comes before it.
        """
        device = self._parameters[0].device
        width = max(len(prompt) + len(e.completion_ids) for prompt, e in rows)
        ids = torch.full((len(rows), width), self.pad_id)
        predicts = torch.zeros((len(rows), width), dtype=torch.bool)
        for row, (prompt, e) in enumerate(rows):
            end = len(prompt) + len(e.completion_ids)
            ids[row, :end] = torch.tensor([*prompt, *e.completion_ids])
            predicts[row, len(prompt) - 1 : end - 1] = torch.tensor(e.written)
        body = getattr(self.model.get_base_model(), self.model.get_base_model().base_model_prefix)
        hidden: Tensor = body(input_ids=ids.to(device), use_cache=False).last_hidden_state
        return hidden[predicts.to(device)]

    # --- state ------------------------------------------------------------------------------------------------

    def save_adapter(self, folder: Path) -> None:
        """The student in PEFT's own format, loadable without this package."""
        self.model.save_pretrained(str(folder), selected_adapters=[STUDENT], save_embedding_layers=False)
        nested = folder / STUDENT  # peft puts a named adapter into a folder of its name
        for file in nested.iterdir():
            file.rename(folder / file.name)
        nested.rmdir()
        (folder / "README.md").unlink(missing_ok=True)

    def save(self, folder: Path) -> None:
        """Everything that training goes on from: adapters, optimiser, position."""
        state: dict[str, Any] = {
            "student": adapter_parameters(self.model, STUDENT),
            "teacher": adapter_parameters(self.model, TEACHER),
            "optimiser": self._optimiser.state_dict(),
        }
        torch.save(state, folder / "trainer.pt")
        (folder / "trainer.json").write_text(json.dumps({"steps": self.steps}))

    def load(self, folder: Path) -> None:
        state = torch.load(folder / "trainer.pt", weights_only=True, map_location="cpu")
        with torch.no_grad():
            for adapter, saved in ((STUDENT, state["student"]), (TEACHER, state["teacher"])):
                for name, parameter in adapter_parameters(self.model, adapter).items():
                    parameter.copy_(saved[name])
        self._optimiser.load_state_dict(state["optimiser"])
        self.steps = json.loads((folder / "trainer.json").read_text())["steps"]


class _Sums:
    """Running sums over the tokens of a step."""

    def __init__(self) -> None:
        self.loss = self.tokens = 0.0
        self.gain = {True: [0.0, 0], False: [0.0, 0]}

    def add(self, batch: Sequence[Example], loss_N: Tensor, gain_N: Tensor) -> None:
        self.loss += float(loss_N.sum())
        self.tokens += len(loss_N)
        for e, gain in zip(batch, gain_N.split([sum(e.written) for e in batch]), strict=True):
            if len(gain):
                self.gain[e.correct][0] += float(gain.mean())
                self.gain[e.correct][1] += 1

    def metrics(self) -> dict[str, float]:
        found = {"loss": self.loss / max(1.0, self.tokens), "tokens": self.tokens}
        (right, n_right), (wrong, n_wrong) = self.gain[True], self.gain[False]
        if n_right and n_wrong:
            found["teacher_gain"] = right / n_right - wrong / n_wrong
        return found


def _split(examples: list[Example], parts: int) -> Iterator[list[Example]]:
    """So many parts (fewer where there are fewer examples), their sizes one apart at most."""
    parts = min(parts, len(examples))
    bounds = [len(examples) * i // parts for i in range(parts + 1)]
    for start, end in pairwise(bounds):
        yield examples[start:end]


def _micro_batches(examples: Sequence[Example], tokens: int) -> Iterator[list[Example]]:
    """Like lengths together, at most `tokens` padded tokens (of teacher and student) in one forward pass."""

    def cost(e: Example) -> int:
        return len(e.teacher_prompt_ids) + len(e.student_prompt_ids) + 2 * len(e.completion_ids)

    batch: list[Example] = []
    for example in sorted(examples, key=cost):
        if batch and (len(batch) + 1) * cost(example) > tokens:
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch
