"""TRL's SDPO trainer on the same batch, where TRL is installed. It is no dependency.

Only its loss and backward pass are run, on rollouts that are given: what it would generate and reward is not measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from pmd_agent.distillation.example import Example
from pmd_agent.models.adapters import STUDENT, adapter_parameters
from pmd_agent.recipe.distill import DistillSection


def unavailable() -> str:
    """Why it cannot be measured here; "" where it can."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("trl")
    except PackageNotFoundError:
        return "TRL is not installed"
    try:
        from trl.experimental.sdpo import SDPOConfig, SDPOTrainer  # noqa: F401
    except Exception as error:  # whatever another package's import may raise
        return f"TRL {found} has no SDPO trainer that can be imported: {type(error).__name__}: {error}"
    return ""


class TrlTrainer:
    """One update by TRL's loss; its own settings but for the loss, which is SDPO's published one."""

    def __init__(self, model: Any, tokenizer: Any, settings: DistillSection) -> None:
        from datasets import Dataset
        from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

        self._device: torch.device = model.get_base_model().device
        arguments = SDPOConfig(
            output_dir=tempfile.mkdtemp(prefix="pmd-bench-trl-"),
            report_to="none",
            distillation_mode="topk_logits",
            distillation_alpha=0.5,
            distillation_add_tail=True,
            distillation_topk=settings.top_k,
            distillation_is_clip=settings.importance_clip,
            gradient_checkpointing=(
                self._device.type != "cpu"
                if settings.gradient_checkpointing is None
                else settings.gradient_checkpointing
            ),
            gradient_checkpointing_kwargs={"use_reentrant": False},
            use_cpu=self._device.type == "cpu",
            num_generations=2,
            per_device_train_batch_size=2,
        )
        self._trainer = SDPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": "1 + 1", "privileged_context": ""}] * 2),
            processing_class=tokenizer,
        )
        self._trainer.current_gradient_accumulation_steps = 1  # otherwise set by its own loop, which is not run
        self._model = model
        self._parameters = list(adapter_parameters(model, STUDENT).values())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=settings.lr, weight_decay=settings.weight_decay)

    def step(self, batch: Sequence[Example]) -> float:
        prompts, answers = (
            self._tensor([e.student_prompt_ids for e in batch]),
            self._tensor([e.completion_ids for e in batch]),
        )
        teachers = self._tensor([e.teacher_prompt_ids + e.completion_ids for e in batch])
        inputs = {
            "prompt_ids": prompts,
            "prompt_mask": torch.ones_like(prompts),
            "completion_ids": answers,
            "completion_mask": torch.ones_like(answers),
            "teacher_input_ids": teachers,
            "teacher_attention_mask": torch.ones_like(teachers),
            "self_distillation_mask": torch.ones(len(batch), device=self._device),
            "old_per_token_logps": torch.tensor([e.logprobs for e in batch], device=self._device),
            "advantages": torch.zeros(len(batch), device=self._device),
        }
        self._model.train()
        self._optimiser.zero_grad(set_to_none=True)
        loss: torch.Tensor = self._trainer.compute_loss(self._model, inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        return float(loss.detach())

    def _tensor(self, rows: Sequence[tuple[int, ...]]) -> torch.Tensor:
        return torch.tensor(rows, device=self._device)
