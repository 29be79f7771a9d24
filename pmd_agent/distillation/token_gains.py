"""A few rollouts of each step, token by token: how much more the teacher believes in each token than the student."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pmd_agent.distillation.example import Example

MOST_TOKENS = 2048
"""Of a rollout: the first ones. Eight rollouts of a step are then at most some 300 kB."""

Gains = list[float | None]
"""A token each, in nats; None where the policy did not write it, or nothing is learnt at it."""


def to_show(examples: Sequence[Example], most: int) -> list[str]:
    """Ids of up to `most` that have a teacher: as many right as wrong ones, spread over the batch; the same each time."""
    right, wrong = ([e.id for e in examples if e.advantage is None and e.correct is which] for which in (True, False))
    n_right = min(len(right), max((most + 1) // 2, most - len(wrong)))
    return [*_spread(right, n_right), *_spread(wrong, min(len(wrong), most - n_right))]


def _spread(ids: Sequence[str], n: int) -> list[str]:
    return [ids[i * len(ids) // n] for i in range(n)]


def aligned(example: Example, gains: Sequence[float]) -> Gains:
    """Gains at the written tokens of a rollout, beside all of its tokens."""
    following = iter(gains)
    return [round(next(following), 2) if written else None for written in example.written][:MOST_TOKENS]


def pieces(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[str]:
    """The text of each token; together they are the whole. Where several make up one character, the last one has it."""
    found: list[str] = []
    start = read = 0  # decoded together with the tokens before, since some tokenizers drop a leading space
    for end in range(1, len(ids) + 1):
        text = decode(ids[start:end])
        if text.endswith("\ufffd") and end < len(ids) and end - read < 8:
            found.append("")
            continue
        found.append(text[len(decode(ids[start:read])) :])
        start, read = read, end
    return found
