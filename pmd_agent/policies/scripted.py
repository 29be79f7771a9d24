"""A policy that answers from a list: for tests of the loop, and for trying a recipe's problems and verifier without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.environment import Reply
from pmd_agent.models.tool_formats import Tools, read_calls
from pmd_agent.policies.base import Arrived, Asked, Messages
from pmd_agent.types import Completion, Sampling

if TYPE_CHECKING:
    import dspy


class ScriptedPolicy:
    """Sample number i of a call gets answer i, round and round. Tokens are the bytes of the text.

    Programs get `insights`, the JSON object that a reflection or generalisation returns.
    """

    serves = False

    def __init__(self, answers: Sequence[str], insights: str | None = None) -> None:
        self.answers = list(answers)
        self.insights = insights or json.dumps({"strategies": [], "lessons": [], "behaviors": []})
        self.version, self.shares_weights = 0, True
        self._answered = 0
        self.special_tokens: frozenset[str] = frozenset()
        self.prompts: list[Messages] = []
        """Every prompt that was sampled from, in order."""

    def encode(self, messages: Messages, *, thinking: bool | None = None) -> list[int]:
        return list("\n".join(m["content"] for m in messages).encode("utf-8", "replace"))

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")

    def sample(
        self, prompts_P: Sequence[Messages], n: int, sampling: Sampling, arrived: Arrived | None = None
    ) -> list[list[Completion]]:
        self.prompts += prompts_P
        texts = iter(range(len(prompts_P) * n))
        return [
            [self._completion(prompt, self.answers[next(texts) % len(self.answers)]) for _ in range(n)]
            for prompt in prompts_P
        ]

    def answer(self, asked_N: Sequence[Asked]) -> list[Completion]:
        """Reply number i of the policy's life is answer i, round and round."""
        found = []
        for ids, _ in asked_N:
            text = self.answers[self._answered % len(self.answers)]
            self._answered += 1
            found.append(self._completed(ids, text))
        return found

    def between(self, opening: Messages, said: Messages, last: int | None) -> tuple[int, ...]:
        return tuple(f"\n{chr(10).join(m['content'] for m in said)}\n".encode("utf-8", "replace"))

    def heard(self, completion: Completion, tools: Tools, turn: int) -> Reply:
        return Reply(completion.text, *read_calls("plain", completion.text, tools, turn))

    def lm(
        self, *, temperature: float, max_tokens: int, seed: int, initial: bool = False, most: int | None = None
    ) -> dspy.LM:
        import dspy

        from pmd_agent.policies.batching import BatchingEngine

        engine = BatchingEngine(
            lambda jobs: [self._completion(messages, self.insights) for messages, _ in jobs],
            model_name="scripted",
            sampling=Sampling(temperature, 1.0, max_tokens, seed),
        )
        return dspy.LM(
            "scripted/policy", engine=engine, cache=False, temperature=temperature, max_tokens=max_tokens, num_retries=0
        )

    def attach(self, folder: Path) -> None:
        pass

    def resting(self) -> AbstractContextManager[None]:
        return nullcontext()

    def load(self, adapter: Path | None, version: int) -> None:
        self.version = version

    def close(self) -> None:
        pass

    def _completion(self, messages: Messages, text: str) -> Completion:
        return self._completed(tuple(self.encode(messages)), text)

    def _completed(self, prompt_ids: tuple[int, ...], text: str) -> Completion:
        ids = tuple(text.encode("utf-8", "replace"))
        return Completion(prompt_ids, ids, (-1.0,) * len(ids), text, "stop", self.version)
