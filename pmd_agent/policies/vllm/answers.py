"""What a vLLM server answers, as completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pmd_agent.errors import PolicyError
from pmd_agent.types import Completion


def completions(
    answer: dict[str, Any],
    prompt_ids: tuple[int, ...],
    n: int,
    *,
    model: str,
    version: int,
    decode: Callable[[Sequence[int]], str],
) -> list[Completion]:
    """The n samples of `model`, whose weights have this version; one alone stands for all of them. Raises PolicyError."""
    if answer.get("model") != model:
        raise PolicyError(
            f"The vLLM server answered from {answer.get('model')!r}, and {model!r} was asked.",
            "Let nothing else stand between pmd and the server.",
        )
    choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
    found = [_completion(prompt_ids, choice, version, decode) for choice in choices]
    if len(found) == 1:
        return found * n
    if len(found) != n:
        raise PolicyError(f"The vLLM server sent {len(found)} samples, and {n} were asked.")
    return found


def _completion(
    prompt_ids: tuple[int, ...], choice: dict[str, Any], version: int, decode: Callable[[Sequence[int]], str]
) -> Completion:
    ids = choice.get("token_ids")
    logprobs = (choice.get("logprobs") or {}).get("token_logprobs")
    if ids is None or logprobs is None or len(ids) != len(logprobs):
        raise PolicyError("The vLLM server sends no token ids with log-probabilities.", "Use vLLM 0.11 or newer.")
    return Completion(
        prompt_ids=prompt_ids,
        completion_ids=tuple(ids),
        logprobs=tuple(map(float, logprobs)),
        text=decode(ids),
        finish_reason="stop" if choice["finish_reason"] == "stop" else "length",
        policy_version=version,
    )
