"""Rank 0's trainer, where several processes learn as one (parallel.py)."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.distillation.trainer_state import Part, State


class LeadingTrainer(Trainer):
    """Rank 0's: the others (parallel.follow) do with it what takes all of them."""

    def step(self, examples: Sequence[Example], *, rollouts: int | None = None) -> dict[str, float]:
        with self.team.working("learn", list(examples), rollouts, self.total_steps):
            return super().step(examples, rollouts=rollouts)

    def gain(self, examples: Sequence[Example]) -> float | None:
        with self.team.working("gain", list(examples)):
            return super().gain(examples)

    def log_ratios(self, examples: Sequence[Example]) -> dict[str, float]:
        with self.team.working("log_ratios", list(examples)):
            return super().log_ratios(examples)

    def gather(self, part: Part) -> State:
        with self.team.working("gather", part):
            return super().gather(part)

    def restore(self, state: State, steps: int) -> None:
        with self.team.working("restore", state, steps):
            super().restore(state, steps)
