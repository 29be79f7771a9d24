"""Reflection: one problem's attempts in, strategies and lessons out."""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from pmd_agent.pipelines.prompts import choose_attempts, render_attempts
from pmd_agent.pipelines.style import Style, signatures_of
from pmd_agent.types import Attempt, ProblemView


class Reflector(dspy.Module):  # type: ignore[misc]
    """Contrasts correct attempts with failed ones; where all failed, asks only what to avoid.

    A reflector is any `dspy.Module` that is called as below and returns a `dspy.Prediction` with `strategies` and
    `lessons`, lists of sentences. It sees a problem's prompt, system, kind and id, and attempts with their verdicts; an
    answer it does not see. Name your own in a recipe: `pipeline.reflector: package.module:Class`.
    """

    def __init__(self, attempts: int = 4, attempt_chars: int = 4000, style: Style = "box") -> None:
        super().__init__()
        self.attempts, self.attempt_chars = attempts, attempt_chars
        questions = signatures_of(style)
        self.contrast = dspy.Predict(questions.Contrast)
        self.postmortem = dspy.Predict(questions.Postmortem)

    def forward(self, problem: ProblemView, experiences: Sequence[Attempt]) -> dspy.Prediction:
        shown = choose_attempts(experiences, self.attempts)
        attempts = render_attempts(shown, self.attempt_chars)
        if any(experience.correct for experience in shown):
            return self.contrast(problem=problem.prompt, attempts=attempts)
        found = self.postmortem(problem=problem.prompt, attempts=attempts)
        return dspy.Prediction(strategies=[], lessons=found.lessons)
