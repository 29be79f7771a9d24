"""What the trainer is given: one rollout, as student and teacher see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """The two prompts differ by the memory; the tokens to be judged are the same."""

    student_prompt_ids: tuple[int, ...]
    teacher_prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    written: tuple[bool, ...]
    """True where the policy wrote the token: only there is a loss."""
    correct: bool
