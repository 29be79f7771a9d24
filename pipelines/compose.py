"""Putting reflectors together: one after another, or side by side."""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from pmd_agent.types import Attempt, ProblemView


class After(dspy.Module):  # type: ignore[misc]
    """Reflectors one after another: each later one gets what came before as `draft` and returns the improved whole.

        After(Reflector(), Critic())

    The first is called with `problem` and `experiences`; the others also with `draft`, a `dspy.Prediction`.
    """

    def __init__(self, first: dspy.Module, *others: dspy.Module) -> None:
        super().__init__()
        self.first, self.others = first, list(others)

    def forward(self, problem: ProblemView, experiences: Sequence[Attempt]) -> dspy.Prediction:
        draft = self.first(problem=problem, experiences=experiences)
        for refine in self.others:
            draft = refine(problem=problem, experiences=experiences, draft=draft)
        return draft


class Beside(dspy.Module):  # type: ignore[misc]
    """Reflectors side by side on the same attempts; what they find is put together, each sentence once."""

    def __init__(self, *reflectors: dspy.Module) -> None:
        super().__init__()
        self.reflectors = list(reflectors)

    def forward(self, problem: ProblemView, experiences: Sequence[Attempt]) -> dspy.Prediction:
        found = [reflector(problem=problem, experiences=experiences) for reflector in self.reflectors]
        return dspy.Prediction(
            strategies=list(dict.fromkeys(text for f in found for text in f.strategies)),
            lessons=list(dict.fromkeys(text for f in found for text in f.lessons)),
        )


class ReviseInsights(dspy.Signature):  # type: ignore[misc]
    """Check draft insights against the attempts they came from. Keep what the attempts support, make vague ones concrete, drop the rest. Write each as one short imperative sentence. Never state the final answer."""  # noqa: E501

    problem: str = dspy.InputField(desc="the problem")
    attempts: str = dspy.InputField(desc="attempts with their verdicts")
    draft_strategies: list[str] = dspy.InputField(desc="what to do again, as drafted")
    draft_lessons: list[str] = dspy.InputField(desc="what to avoid, as drafted")
    strategies: list[str] = dspy.OutputField(desc="what to do again")
    lessons: list[str] = dspy.OutputField(desc="what to avoid")


class Critic(dspy.Module):  # type: ignore[misc]
    """Revises a draft against the attempts: for models that reflect better in two steps (the one in the box does not)."""

    def __init__(self, attempts: int = 4, attempt_chars: int = 4000) -> None:
        super().__init__()
        self.attempts, self.attempt_chars = attempts, attempt_chars
        self.revise = dspy.Predict(ReviseInsights)

    def forward(self, problem: ProblemView, experiences: Sequence[Attempt], draft: dspy.Prediction) -> dspy.Prediction:
        from pmd_agent.pipelines.prompts import choose_attempts, render_attempts

        shown = render_attempts(choose_attempts(experiences, self.attempts), self.attempt_chars)
        return self.revise(
            problem=problem.prompt, attempts=shown, draft_strategies=draft.strategies, draft_lessons=draft.lessons
        )
