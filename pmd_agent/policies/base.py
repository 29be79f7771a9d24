"""What the loop needs of a language model, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pmd_agent.environment import Reply
from pmd_agent.models.templates import Messages
from pmd_agent.models.tool_formats import Tools
from pmd_agent.types import Completion, Sampling

if TYPE_CHECKING:
    import dspy


__all__ = ["Arrived", "Asked", "Messages", "Policy", "seed_of", "special_tokens_of"]

Asked = tuple[tuple[int, ...], Sampling]
"""A prompt as token ids, and how its one completion is drawn."""
Arrived = Callable[[int, list[Completion]], None]
"""Told the place of a prompt among those asked, and its completions."""


class Policy(Protocol):
    """A model that samples, and that runs the programs which write its memory: always the same weights for both."""

    version: int
    """Of the weights that will answer next; every rollout and memory carries it."""

    shares_weights: bool
    """True where a trainer in this process changes the weights in place; then `load` only notes the version."""

    @property
    def special_tokens(self) -> frozenset[str]:
        """Texts that its tokenizer reads as special tokens: no remembered text may bring one into a prompt."""
        ...

    def encode(self, messages: Messages, *, thinking: bool | None = None) -> list[int]:
        """The prompt as token ids, chat template applied, ready for an answer. `thinking`: None is the policy's own setting."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens in it."""
        ...

    def sample(
        self, prompts_P: Sequence[Messages], n: int, sampling: Sampling, arrived: Arrived | None = None
    ) -> list[list[Completion]]:
        """n completions of each prompt, in the order of the prompts. Raises PolicyError.

        A policy that `serves` tells `arrived`, in this thread, of each prompt that is answered while others are not yet.
        """
        ...

    serves: bool
    """Whether `answer` may be called from several threads, as each has something to ask. Else many are asked in one call."""

    def answer(self, asked_N: Sequence[Asked]) -> list[Completion]:
        """A completion of each of these prompts, which may be conversations that it was part of. Raises PolicyError."""
        ...

    def between(self, opening: Messages, said: Messages, last: int | None) -> tuple[int, ...]:
        """The ids from the end of a reply, whose last id is given, to the beginning of the next, with `said` between them."""
        ...

    def heard(self, completion: Completion, tools: Tools, turn: int) -> Reply:
        """A reply with its calls of these tools, read in the model's own format; `turn`: of its episode."""
        ...

    def lm(
        self, *, temperature: float, max_tokens: int, seed: int, initial: bool = False, most: int | None = None
    ) -> dspy.LM:
        """A DSPy language model bound to these very weights, or to those before the first step; its cache off.

        `most`: strategies, lessons or behaviors in one answer, where the policy can be held to a schema.
        """
        ...

    def attach(self, folder: Path) -> None:
        """Where the policy may write, such as a log; called once, before the first `load`."""
        ...

    def resting(self) -> AbstractContextManager[None]:
        """Within, the policy need not answer: training may have its memory."""
        ...

    def load(self, adapter: Path | None, version: int) -> None:
        """Answer from this adapter (None: the base) from now on."""
        ...

    def close(self) -> None:
        """Free what the policy holds."""
        ...


def seed_of(sampling: Sampling, problem: int, sample: int, turn: int = 0) -> int:
    """Of one reply; of a single answer, turn 0."""
    return sampling.seed * 1_000_003 + problem * 1009 + sample + turn * 7_368_787


def special_tokens_of(tokenizer: Any) -> frozenset[str]:
    """The special tokens of a Hugging Face tokenizer, and what else it has added that its chat template writes."""
    template = str(tokenizer.chat_template or "")
    added = tokenizer.added_tokens_decoder.values()
    found = {token.content for token in added if token.special or token.content in template}
    return frozenset(found | set(tokenizer.all_special_tokens))
