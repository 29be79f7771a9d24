"""The teacher's lessons absorbed by a LoRA adapter: one step on the student's own rollouts.

For each rollout the teacher reads memory + problem + the rollout, the student problem + the rollout; both give a distribution
at every token of the rollout, and the student moves towards the teacher. A rollout with an advantage has no teacher: GRPO's
objective moves the student (objectives.py has both). Logits are computed for those positions only, in chunks that are
recomputed in the backward pass.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.objectives import Judged, Tokens, distilled, reinforced
from pmd_agent.distillation.policy_gradient import token_logprobs
from pmd_agent.distillation.read_out import body_of, read_out
from pmd_agent.distillation.tally import Tally
from pmd_agent.recipe_learning import Distill
from pmd_agent.weights import STUDENT, TEACHER, Weights, adapter_parameters, answering_as, copy_adapter

CHUNK = 1024
"""Positions whose logits exist at one time."""


class Trainer:
    """Owns the optimiser and the teacher's weights; the student's are the active adapter of `model`, changed in place."""

    def __init__(
        self, model: Any, settings: Distill, *, pad_id: int, seed: int, special_ids: Collection[int] = frozenset()
    ) -> None:
        self.model, self.settings, self.pad_id, self.seed = model, settings, pad_id, seed
        self.steps = 0
        self.gains: dict[str, float] = {}
        """Rollout id -> how much more its teacher believed in it than the student, in the last step; nats per token."""
        self.total_steps: int | None = None
        """The run's length, which a falling learning rate follows."""
        self._unlearnt = frozenset(special_ids) if settings.mask_special else frozenset()
        self._logits = read_out(model.get_base_model())
        self._parameters = list(adapter_parameters(model, STUDENT).values())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=settings.lr, weight_decay=settings.weight_decay)

    def step(self, examples: Sequence[Example]) -> dict[str, float]:
        """Learn from the batch in `updates` optimiser steps, then let the teacher follow. Returns metrics (nats per token).

        An update's loss is the mean over its tokens: sum of weight x loss / sum of weights.
        """
        settings = self.settings
        self.gains = {}
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
        tally = Tally()
        norms = []
        for part in _split([examples[i].without_loss_on(self._unlearnt) for i in order], settings.updates):
            total = sum(e.weight * sum(e.written) for e in part) or 1.0
            self._optimiser.zero_grad(set_to_none=True)
            for batch in _micro_batches(part, settings.batch_tokens):
                self._backward(batch, total, tally)
            norms.append(float(torch.nn.utils.clip_grad_norm_(self._parameters, settings.max_grad_norm)))
            self._optimiser.step()
        self.model.eval()
        if settings.teacher.type == "ema":
            copy_adapter(self.model, STUDENT, TEACHER, rate=settings.teacher.rate)
        self.steps += 1
        self.gains = tally.gains
        return tally.metrics() | {"grad_norm": sum(norms) / len(norms), "lr": lr}

    @torch.no_grad()
    def gain(self, examples: Sequence[Example]) -> float | None:
        """The gain of a teacher that reads these examples' teacher prompts; nothing is learnt.

        Nats per token, against the log-probabilities at which the rollouts were sampled. None where not both correct and
        wrong ones are there.
        """
        tally = Tally()
        learnt = [e.without_loss_on(self._unlearnt) for e in examples]
        for batch in _micro_batches(learnt, self.settings.batch_tokens):
            tokens, teachers = self._tokens(batch), self._references(batch)
            gain_N = [
                token_logprobs(self._mixed([h[part] for h in teachers]), t.target_N) - t.sampled_N
                for part, t in _chunks(tokens)
            ]
            tally.add_gain(batch, torch.cat(gain_N))
        return tally.teacher_gain

    def _lr(self) -> float:
        """Of this step: the warm-up, then constant or falling to zero over `total_steps`."""
        scale = min(1.0, (self.steps + 1) / max(1, self.settings.warmup))
        if self.settings.schedule == "linear" and self.total_steps:
            scale *= max(0.0, 1.0 - self.steps / self.total_steps)
        return self.settings.lr * scale

    def _backward(self, batch: Sequence[Example], total: float, tally: Tally) -> None:
        """The gradient of one micro-batch, all of it distilled or all of it reinforced."""
        tokens, references = self._tokens(batch), self._references(batch)
        objective = self._distilled if batch[0].advantage is None else self._reinforced
        self.model.train()
        student_ND = self._hidden([(e.student_prompt_ids, e) for e in batch])
        chunks = [
            checkpoint(objective, student_ND[part], [h[part] for h in references], t, use_reentrant=False)
            for part, t in _chunks(tokens)
        ]
        judged = Judged(*map(torch.cat, zip(*chunks, strict=True)))
        ((judged.loss_N * tokens.weight_N).sum() / total).backward()
        tally.add(tokens, judged)
        if batch[0].advantage is None:
            tally.add_gain(batch, judged.gain_N)

    def _distilled(self, student_ND: Tensor, teachers_ND: list[Tensor], tokens: Tokens) -> Judged:
        with torch.no_grad():
            teacher_NV = self._mixed(teachers_ND)
        return distilled(self._logits(student_ND), teacher_NV, tokens, self.settings)

    def _reinforced(self, student_ND: Tensor, initial_ND: list[Tensor], tokens: Tokens) -> Judged:
        with torch.no_grad():
            initial_NV = self._logits(initial_ND[0]) if initial_ND else None
        return reinforced(self._logits(student_ND), initial_NV, tokens, self.settings.grpo)

    def _mixed(self, teachers_ND: list[Tensor]) -> Tensor:
        """(N, V) logits of the teacher: of one, or of two interpolated, (1 - mix) initial + mix current."""
        logits = [self._logits(hidden_ND) for hidden_ND in teachers_ND]
        if len(logits) == 1:
            return logits[0]
        return torch.lerp(logits[0].float(), logits[1].float(), self.settings.teacher.mix)

    @torch.no_grad()
    def _references(self, batch: Sequence[Example]) -> list[Tensor]:
        """(N, D) hidden states of each whom the student is compared with: teachers with memory, or GRPO's initial policy."""
        self.model.eval()  # without dropout
        who: Sequence[Weights]
        if batch[0].advantage is None:
            kind = self.settings.teacher.type
            who = ("initial", "current") if kind == "trust_region" else (kind,)
            rows = [(e.teacher_prompt_ids, e) for e in batch]
        else:
            who = ("initial",) if self.settings.grpo.kl else ()
            rows = [(e.student_prompt_ids, e) for e in batch]
        found = []
        for weights in who:
            with answering_as(self.model, weights):
                found.append(self._hidden(rows))
        return found

    def _tokens(self, batch: Sequence[Example]) -> Tokens:
        device = self._parameters[0].device
        count_B = [sum(e.written) for e in batch]
        written_N = torch.tensor([w for e in batch for w in e.written], dtype=torch.bool)
        target_N = torch.tensor([i for e in batch for i in e.completion_ids], dtype=torch.long)[written_N]
        sampled_N = torch.tensor([p for e in batch for p in e.logprobs], dtype=torch.float32)[written_N]
        weight_N = torch.tensor([e.weight for e, n in zip(batch, count_B, strict=True) for _ in range(n)])
        advantage_N = torch.tensor([e.advantage or 0.0 for e, n in zip(batch, count_B, strict=True) for _ in range(n)])
        return Tokens(*(column.to(device) for column in (target_N, sampled_N, weight_N, advantage_N)))

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
        body = body_of(self.model.get_base_model())
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


def _chunks(tokens: Tokens) -> Iterator[tuple[slice, Tokens]]:
    """Pieces of at most CHUNK tokens; one empty piece where there are none."""
    for start in range(0, max(1, len(tokens.target_N)), CHUNK):
        part = slice(start, start + CHUNK)
        yield part, tokens.at(part)


def _split(examples: list[Example], parts: int) -> Iterator[list[Example]]:
    """So many parts (fewer where there are fewer examples), their sizes one apart at most."""
    parts = min(parts, len(examples))
    bounds = [len(examples) * i // parts for i in range(parts + 1)]
    for start, end in pairwise(bounds):
        yield examples[start:end]


def _micro_batches(examples: Sequence[Example], tokens: int) -> Iterator[list[Example]]:
    """Like lengths together, at most `tokens` padded tokens (of teacher and student) in one forward pass, one objective each."""

    def cost(e: Example) -> int:
        return len(e.teacher_prompt_ids) + len(e.student_prompt_ids) + 2 * len(e.completion_ids)

    batch: list[Example] = []
    for example in sorted(examples, key=lambda e: (e.advantage is None, cost(e))):
        other = batch and (batch[0].advantage is None) != (example.advantage is None)
        if batch and (other or (len(batch) + 1) * cost(example) > tokens):
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch
