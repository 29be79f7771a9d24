"""reasoning-gym's own scorers: what stands in the last answer tag, scored by the task that asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.answer_tag import format_feedback, tagged_answer


@dataclass(slots=True)
class ReasoningGym:
    """The scorer's number is the reward, unchanged; correct from `threshold` on."""

    settings: Mapping[str, Mapping[str, Any]]
    """Of each task: some scorers look at them."""
    threshold: float = 0.5
    votes: bool = False
    """Two right answers need not be spelt alike."""
    _scorers: dict[str, Callable[[str, Mapping[str, Any]], float]] = field(default_factory=dict)

    def verify(self, problem: Problem, text: str) -> Verdict:
        """Raises what the scorer raises."""
        answer = tagged_answer(text)
        if answer.content is None:
            return Verdict(0.0, False, format_feedback(answer.fault))
        reward = float(self._scorer(problem.data["task"])(answer.content, problem.data["entry"]))
        right = reward >= self.threshold
        return Verdict(reward, right, "" if right else "The answer is not correct.", answer.content)

    def _scorer(self, task: str) -> Callable[[str, Mapping[str, Any]], float]:
        if task not in self._scorers:
            import reasoning_gym

            settings = {"seed": 0, "size": 1} | dict(self.settings.get(task, {}))
            self._scorers[task] = reasoning_gym.create_dataset(task, **settings).score_answer
        return self._scorers[task]
