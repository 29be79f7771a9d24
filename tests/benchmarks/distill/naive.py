"""The step as it is usually written: padded rows, each computed whole, logits of every position at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation.example import Example
from pmd_agent.models.adapters import STUDENT, TEACHER, adapter_parameters, answering_as, copy_adapter
from pmd_agent.recipe.distill import DistillSection


class NaiveTrainer:
    """SDPO's published loss (JSD over the student's top k and a tail, clipped ratio) on a PEFT model, an EMA teacher.

    `rows` rollouts go through the model at a time; on a GPU, half of them whenever memory does not suffice.
    """

    def __init__(self, model: Any, settings: DistillSection, *, rows: int) -> None:
        self.model, self.settings, self.rows = model, settings, rows
        base = model.get_base_model()
        self._device: torch.device = base.device
        self._half = base.dtype if base.dtype != torch.float32 else None
        if settings.gradient_checkpointing or (settings.gradient_checkpointing is None and self._device.type != "cpu"):
            base.gradient_checkpointing_enable({"use_reentrant": False})
        self._parameters = list(adapter_parameters(model, STUDENT).values())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=settings.lr, weight_decay=settings.weight_decay)

    def step(self, batch: Sequence[Example]) -> float:
        """The loss, after one update."""
        while True:
            try:
                return self._step(batch)
            except torch.OutOfMemoryError:
                if self.rows == 1:
                    raise
                self.rows //= 2
                self._optimiser.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()

    def _step(self, batch: Sequence[Example]) -> float:
        total, loss = sum(len(e.completion_ids) for e in batch), 0.0
        self._optimiser.zero_grad(set_to_none=True)
        for start in range(0, len(batch), self.rows):
            part = batch[start : start + self.rows]
            self.model.eval()
            with torch.no_grad(), answering_as(self.model, "ema"):
                teacher_BTV = self._logits([e.teacher_prompt_ids for e in part], part)
            self.model.train()
            student_BTV = self._logits([e.student_prompt_ids for e in part], part)
            targets = torch.tensor([e.completion_ids for e in part], device=self._device)
            sampled = torch.tensor([e.logprobs for e in part], device=self._device)
            share = naive_loss(student_BTV, teacher_BTV, targets, sampled, self.settings).sum() / total
            share.backward()
            loss += float(share.detach())
        torch.nn.utils.clip_grad_norm_(self._parameters, self.settings.max_grad_norm)
        self._optimiser.step()
        self.model.eval()
        copy_adapter(self.model, STUDENT, TEACHER, rate=self.settings.teacher.rate)
        return loss

    def _logits(self, prompts: Sequence[tuple[int, ...]], part: Sequence[Example]) -> Tensor:
        """(B, T, V) at the completions, which have one length here, and the prompts another."""
        ids = torch.tensor([p + e.completion_ids for p, e in zip(prompts, part, strict=True)], device=self._device)
        with torch.autocast(self._device.type, self._half, enabled=self._half is not None):
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits[:, len(prompts[0]) - 1 : -1]


def naive_loss(
    student_BTV: Tensor, teacher_BTV: Tensor, targets: Tensor, sampled: Tensor, settings: DistillSection
) -> Tensor:
    """(B, T) min(ratio, clip) JSD over the student's top k and a tail, in nats, from log-probabilities over the vocabulary."""
    student = torch.log_softmax(student_BTV.float(), -1)
    with torch.no_grad():
        teacher = torch.log_softmax(teacher_BTV.float(), -1)
    assert settings.top_k is not None and settings.importance_clip is not None
    index = student.detach().topk(min(settings.top_k, student.shape[-1] - 1), -1).indices
    s, t = (_with_tail(p.gather(-1, index)) for p in (student, teacher))
    m = torch.logaddexp(s, t) - torch.tensor(2.0).log()
    jsd = 0.5 * (t.exp() * (t - m) + s.exp() * (s - m)).sum(-1)
    now = student.gather(-1, targets[..., None])[..., 0]
    ratio = (now.detach() - sampled).exp().clamp_max(settings.importance_clip)
    return jsd * ratio


def _with_tail(top: Tensor) -> Tensor:
    rest = (1 - top.exp().sum(-1, keepdim=True)).clamp_min(1e-7)
    return torch.cat([top, rest.log()], -1)
