"""A DSPy language model that answers the same to everything, and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

import dspy
import pytest

from pmd_agent.policies.batching import BatchingEngine, Messages
from pmd_agent.types import Completion, Sampling


class Answers:
    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.prompts: list[Messages] = []
        engine = BatchingEngine(self._batch, model_name="scripted", sampling=Sampling(temperature=0.0, max_tokens=256))
        self.lm = dspy.LM("local/scripted", engine=engine, cache=False, num_retries=0)

    def _batch(self, jobs: Sequence[tuple[Messages, Sampling]]) -> list[Completion]:
        self.prompts += [messages for messages, _ in jobs]
        return [Completion((1,), (2,), (-1.0,), self.answer, "stop", 0) for _ in jobs]


@pytest.fixture
def answers() -> type[Answers]:
    return Answers
