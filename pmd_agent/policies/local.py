"""The policy in this process: transformers and peft, batched, exact token ids and log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd_agent.environment import Reply
from pmd_agent.errors import PolicyError
from pmd_agent.models.encoding import Encoder
from pmd_agent.models.endings import end_ids, padding_id
from pmd_agent.models.templates import ChatTemplate
from pmd_agent.models.tool_formats import ToolFormat, Tools
from pmd_agent.models.turns import Turns
from pmd_agent.policies.base import Arrived, Asked, Messages, seed_of, special_tokens_of
from pmd_agent.policies.batching import BatchingEngine
from pmd_agent.policies.generation import Request, generate_all
from pmd_agent.progress import Count, counting, uncounted
from pmd_agent.types import Completion, Sampling

if TYPE_CHECKING:
    import dspy

SEEDS = 2**32  # torch's CPU generator uses no more


class LocalPolicy:
    """Samples from a model that may be training in this very process: then its weights are always the newest.

    `model` is a causal LM or a PeftModel whose active adapter answers. `reload` loads an adapter folder into it; None where a
    trainer changes the weights in place, so that `load` has only the version to note.
    """

    serves = False

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        thinking: bool = False,
        tool_format: ToolFormat | None = None,
        batch_tokens: int = 65_536,
        reload: Callable[[Path | None], Any] | None = None,
    ) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.version = 0
        self.shares_weights = reload is None
        self.special_tokens = special_tokens_of(tokenizer)
        template = ChatTemplate(tokenizer, name, thinking=thinking, tool_format=tool_format)
        self._encoder = Encoder(template, tokenizer)
        self._batch_tokens, self._reload = batch_tokens, reload
        vocabulary = model.config.get_text_config().vocab_size
        self._eos_ids = frozenset(end_ids(name, model.generation_config.eos_token_id, tokenizer, vocabulary))
        self.turns = Turns(template, tokenizer, self._eos_ids)
        self._pad_id = padding_id(tokenizer, self._eos_ids)
        self.context = int(getattr(model.config, "max_position_embeddings", 0) or 1 << 30)

    def encode(self, messages: Messages, *, thinking: bool | None = None) -> list[int]:
        return self._encoder(messages, thinking)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def sample(
        self, prompts_P: Sequence[Messages], n: int, sampling: Sampling, arrived: Arrived | None = None
    ) -> list[list[Completion]]:
        jobs = [
            (
                prompt,
                Sampling(sampling.temperature, sampling.top_p, sampling.max_tokens, seed_of(sampling, p, g)),
            )
            for p, prompt in enumerate(prompts_P)
            for g in range(n)
        ]
        flat = self._answer(jobs, counting(len(jobs)))
        return [flat[p * n : (p + 1) * n] for p in range(len(prompts_P))]

    def lm(
        self, *, temperature: float, max_tokens: int, seed: int, initial: bool = False, most: int | None = None
    ) -> dspy.LM:
        import dspy

        engine = BatchingEngine(
            self._answer_initially if initial else self._answer,
            model_name=self.name,
            sampling=Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed),
        )
        return dspy.LM(
            f"local/{self.name}@{0 if initial else self.version}",
            engine=engine,
            cache=False,
            temperature=temperature,
            max_tokens=max_tokens,
            num_retries=0,
        )

    def attach(self, folder: Path) -> None:
        pass

    def resting(self) -> AbstractContextManager[None]:
        return nullcontext()

    def load(self, adapter: Path | None, version: int) -> None:
        if self._reload is not None:
            self.model = self._reload(adapter)
        self.version = version

    def close(self) -> None:
        self.model = None

    def _answer_initially(self, jobs: Sequence[tuple[Messages, Sampling]]) -> list[Completion]:
        """As before the first step: with adapters off."""
        from peft import PeftModel

        with self.model.disable_adapter() if isinstance(self.model, PeftModel) else nullcontext():
            return self._answer(jobs)

    def _answer(self, jobs: Sequence[tuple[Messages, Sampling]], count: Count = uncounted) -> list[Completion]:
        return self._completed([(tuple(self.encode(messages)), sampling) for messages, sampling in jobs], count)

    def between(self, opening: Messages, said: Messages, last: int | None) -> tuple[int, ...]:
        return self.turns.between(opening, said, last)

    def heard(self, completion: Completion, tools: Tools, turn: int) -> Reply:
        return self.turns.heard(completion, tools, turn)

    def answer(self, asked_N: Sequence[Asked]) -> list[Completion]:
        return self._completed(asked_N, uncounted)

    def _completed(self, asked_N: Sequence[Asked], count: Count) -> list[Completion]:
        requests = []
        for ids, sampling in asked_N:
            room = self.context - len(ids)
            if room < 1:
                raise PolicyError(
                    f"A prompt has {len(ids)} tokens, and {self.name} reads {self.context} in all.",
                    "Lower rollout.max_prompt_tokens, memory.max_tokens or pipeline.attempt_chars.",
                )
            tokens, seed = min(sampling.max_tokens, room), sampling.seed % SEEDS
            requests.append(Request(ids, Sampling(sampling.temperature, sampling.top_p, tokens, seed)))
        was_training = self.model.training
        self.model.eval()
        answers = generate_all(
            self.model,
            requests,
            eos_ids=self._eos_ids,
            pad_id=self._pad_id,
            batch_tokens=self._batch_tokens,
            count=count,
        )
        self.model.train(was_training)
        return [
            Completion(
                prompt_ids=request.prompt_ids,
                completion_ids=tuple(answer.ids),
                logprobs=tuple(answer.logprobs),
                text=self.tokenizer.decode(answer.ids, skip_special_tokens=True),
                finish_reason="stop" if answer.ended else "length",
                policy_version=self.version,
            )
            for request, answer in zip(requests, answers, strict=True)
        ]
