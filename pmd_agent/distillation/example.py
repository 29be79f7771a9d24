"""What the trainer is given: one rollout, as student and teacher see it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Example:
    """The two prompts differ by the memory; the tokens to be judged are the same."""

    student_prompt_ids: tuple[int, ...]
    teacher_prompt_ids: tuple[int, ...]
    """Empty where no teacher is asked (`advantage` is set)."""
    completion_ids: tuple[int, ...]
    written: tuple[bool, ...]
    """True where the policy wrote the token: only there is a loss."""
    logprobs: tuple[float, ...]
    """(T,) nats under the weights that sampled, at temperature 1: importance ratios are taken to them."""
    correct: bool
    weight: float = 1.0
    """In the mean of the loss: of each of its tokens, or (distill.normalisation=per_rollout) of all of them together."""
    advantage: float | None = None
    """None: the student follows the teacher. A number: no teacher, GRPO's objective with this advantage at each token."""

    id: str = ""
    """The rollout's."""

    def without_loss_on(self, ids: Collection[int]) -> Example:
        """The same, with no loss on these tokens; what comes after still reads them."""
        kept = tuple(w and token not in ids for w, token in zip(self.written, self.completion_ids, strict=True))
        return replace(self, written=kept)
