"""A DSPy language model whose answers are a function of the prompt, and samples of what programs read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import dspy
import pytest

from pmd_agent.policies.batching import BatchingEngine, Messages
from pmd_agent.types import Completion, Experience, Insight, Problem, Sampling


class Answers:
    """Hands every prompt to `answer` (user message -> text; a string is the answer to all) and keeps them."""

    def __init__(self, answer: Callable[[str], str] | str) -> None:
        self.answer = answer
        self.prompts: list[Messages] = []
        self.batches: list[int] = []
        engine = BatchingEngine(self._batch, model_name="scripted", sampling=Sampling(temperature=0.0, max_tokens=256))
        self.lm = dspy.LM("local/scripted", engine=engine, cache=False, num_retries=0)

    def _batch(self, jobs: Sequence[tuple[Messages, Sampling]]) -> list[Completion]:
        self.prompts += [messages for messages, _ in jobs]
        self.batches.append(len(jobs))
        texts = [self.answer if isinstance(self.answer, str) else self.answer(m[-1]["content"]) for m, _ in jobs]
        return [Completion((1,), (2,), (-1.0,), text, "stop", 0) for text in texts]


@pytest.fixture
def answers() -> type[Answers]:
    return Answers


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """make.problem("p"), make.attempt("0/p/1", correct=True, ...), make.insight("p", text)"""

    def problem(id: str) -> Problem:
        return Problem(id=id, prompt=f"Solve {id}.", answer="42")

    def attempt(id: str, *, correct: bool = False, text: str | None = None, **changes: Any) -> Experience:
        known: dict[str, Any] = {
            "reward": float(correct),
            "feedback": "",
            "answer": None,
            "step": 4,
            "policy_version": 3,
        }
        return Experience(id, id.split("/")[1], text or f"text of {id}", correct=correct, **(known | changes))

    def insight(problem_id: str, text: str, number: int = 0) -> Insight:
        return Insight(f"0/{problem_id}/{number}", problem_id, "strategy", text, 0.5, (), 0, 0)

    return SimpleNamespace(problem=problem, attempt=attempt, insight=insight)
