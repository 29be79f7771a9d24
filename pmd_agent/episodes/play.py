"""One episode, from its first message to its reward. The policy goes on from the exact ids that it read and wrote."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pmd_agent.environment import Environment, Reply
from pmd_agent.episodes.checked import Messages, Misbehaved, account_of, observation_of, opening_of, raw, verdict_of
from pmd_agent.models.templates import tools_of
from pmd_agent.models.tool_formats import Tools
from pmd_agent.types import Completion, Problem, Sampling, Turn, Verdict

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Limits:
    """At which an episode ends, and what it counts as correct."""

    turns: int
    """Replies of the policy."""
    tokens: int
    """Of all that follows the prompt, the environment's included."""
    context: int
    """Of prompt and all that follows: what the policy can read."""
    prompt_tokens: int
    """A longer opening is a fault of the environment."""
    observation_chars: int
    """Of one message of the environment, which is cut in its middle."""
    seconds: float
    """Of one call of the environment."""
    at_once: int
    """Episodes that go on beside each other."""
    threshold: float
    """A reward of at least this is correct."""


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to be played."""

    problem: Problem
    make: Callable[[Problem], Environment]
    seed_of: Callable[[int], int]
    """The seed of a turn's reply."""


@dataclass(frozen=True, slots=True)
class Played:
    """One episode, over."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    written: tuple[bool, ...]
    logprobs: tuple[float, ...]
    turns: tuple[Turn, ...]
    opening: tuple[Mapping[str, str], ...]
    """Empty where the problem's own messages opened it."""
    finish_reason: Literal["stop", "length"]
    policy_version: int
    outcome: Verdict | None
    """None: the environment leaves it to the verifier."""
    account: str
    cut: int
    """Messages of the environment that were cut."""


class Around(Protocol):
    """What an episode needs of who plays many."""

    def encode(self, problem: Problem, opening: Messages) -> tuple[int, ...]:
        """The prompt's ids."""
        ...

    def between(self, said: Messages, last: int | None) -> tuple[int, ...]:
        """The ids between two replies, the first of which ends with `last`."""
        ...

    def ask(self, ids: tuple[int, ...], max_tokens: int, turn: int) -> Completion:
        """The policy's reply."""
        ...

    def heard(self, reply: Completion, tools: Tools, turn: int) -> Reply:
        """The reply with its calls of these tools."""
        ...

    def call(self, name: str, *arguments: Any) -> Any:
        """Of the environment. Raises Misbehaved."""
        ...

    def read(self, name: str, default: Any) -> Any:
        """An attribute of the environment, or the default where it has none. Raises Misbehaved."""
        ...

    @property
    def special_tokens(self) -> Collection[str]:
        """Of the policy: no observation may bring one."""
        ...


@dataclass(slots=True)
class Talk:
    """An episode so far."""

    prompt_ids: tuple[int, ...] = ()
    ids: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    opening: Messages = field(default_factory=list)
    replies: int = 0
    finish_reason: Literal["stop", "length"] = "stop"
    policy_version: int | None = None
    account: str = ""
    cut: int = 0

    def hear(self, reply: Completion) -> None:
        """The policy's tokens are its own."""
        self.ids += reply.completion_ids
        self.written += [True] * len(reply.completion_ids)
        self.logprobs += reply.logprobs
        self.turns.append(Turn("assistant", reply.text))
        self.replies += 1
        self.finish_reason = reply.finish_reason
        if self.policy_version is None:
            self.policy_version = reply.policy_version

    def read(self, said: Messages, ids: tuple[int, ...]) -> None:
        """Tokens that others wrote: no loss falls on them."""
        self.ids += ids
        self.written += [False] * len(ids)
        self.logprobs += [0.0] * len(ids)
        self.turns += [Turn("tool" if m["role"] == "tool" else "user", m["content"]) for m in said]

    def over(self, outcome: Verdict | None, version: int) -> Played:
        """`version`: of a policy that was never asked."""
        return Played(
            self.prompt_ids, tuple(self.ids), tuple(self.written), tuple(self.logprobs), tuple(self.turns),
            tuple(self.opening), self.finish_reason, version if self.policy_version is None else self.policy_version,
            outcome, self.account, self.cut,
        )  # fmt: skip


def play(talk: Talk, problem: Problem, around: Around, limits: Limits) -> Verdict | None:
    """Plays it in `talk`. The environment's verdict; None where a verifier is to be asked. Unchecked where it failed."""
    try:
        talk.opening = opening_of(around.call("start", problem), around.special_tokens)
        talk.prompt_ids = around.encode(problem, talk.opening)
        if talk.opening and len(talk.prompt_ids) > limits.prompt_tokens:
            raise Misbehaved(f"start gave a prompt of {len(talk.prompt_ids)} tokens (rollout.max_prompt_tokens)")
        _talk(talk, around, limits)
        reward, feedback = around.read("reward", ABSENT), around.read("feedback", "")
        talk.account = account_of(around.read("account", ""))
        return None if reward is ABSENT else verdict_of(reward, feedback, limits.threshold)
    except Misbehaved as fault:
        return unchecked(str(fault))


def unchecked(reason: str) -> Verdict:
    """The verdict on an episode whose environment failed."""
    return Verdict(None, None, f"the environment failed: {reason}")


def _talk(talk: Talk, around: Around, limits: Limits) -> None:
    """Turn by turn, until the environment ends it or a limit is reached."""
    before: Messages = []
    tools = tools_of(talk.opening)
    while (room := _room(talk, limits)) > 0:
        reply = around.ask((*talk.prompt_ids, *talk.ids), room, talk.replies)
        talk.hear(reply)
        said = around.call("act", around.heard(reply, tools, talk.replies) if tools else reply.text)
        observed, was_cut = observation_of(said, talk.opening, before, limits.observation_chars, around.special_tokens)
        before += raw(said)
        if not observed:
            return
        last = reply.completion_ids[-1] if reply.completion_ids else None
        ids = around.between(observed, last)
        if talk.replies >= limits.turns or _room(talk, limits) <= len(ids):
            break
        talk.cut += was_cut
        talk.read(observed, ids)
    talk.finish_reason = "length"


def _room(talk: Talk, limits: Limits) -> int:
    """Tokens that are left."""
    return min(limits.tokens - len(talk.ids), limits.context - len(talk.prompt_ids) - len(talk.ids))


def sampling_of(sampling: Sampling, room: int, seed: int) -> Sampling:
    """Of one reply, within what is left."""
    return Sampling(sampling.temperature, sampling.top_p, min(sampling.max_tokens, room), seed)
