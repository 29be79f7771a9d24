"""The seam of environments: what answers the policy's replies, until the episode ends."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from pmd_agent.errors import RecipeError
from pmd_agent.plugins import import_plugin
from pmd_agent.types import Problem

Said = str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""A text (a user's message), a message with role and content, several of them, or None: nothing.

The first message of `start` may have `tools` as well, a list of functions in OpenAI's schema. The policy then reads of them as its
chat template tells it, and `act` gets a `Reply` with its calls. An answer to one is a message of the role `tool`, with the call's
id as `tool_call_id`.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, read from a reply."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""
    """The model's own, or one of nine digits."""
    fault: str = ""
    """Why it is none, for the policy to read; empty where it is one."""


class Reply(str):
    """What the policy wrote: a text, and where it has tools its calls of them, read in the model's own format."""

    calls: tuple[Call, ...]
    content: str
    """What it says beside its calls and its hidden reasoning."""

    def __new__(cls, text: str, content: str, calls: tuple[Call, ...]) -> Self:
        made = super().__new__(cls, text)
        made.content, made.calls = content, calls
        return made


class Environment(Protocol):
    """One episode: its state is its own. Any method may be async; none is called from two threads at one time.

    It also has `reward`, a number in [0, 1] or None for "could not be checked", read when the episode has ended. One without leaves
    the last reply to the verifier. It may have `feedback`, a text for the teacher and the reflector, and `account`, a text in which
    memory keeps the episode in place of all that was said. What fails here says nothing about the policy: the episode "could not
    be checked".
    """

    def start(self, problem: Problem) -> Said | Awaitable[Said]:
        """The messages that the policy reads first; None: the problem's own."""
        ...

    def act(self, reply: str) -> Said | Awaitable[Said]:
        """What the environment says to a reply (with tools: a `Reply`), in the roles `user` and `tool`; None ends the episode."""
        ...

    def close(self) -> Awaitable[None] | None:
        """Free what it holds. Called once, whatever happened. May be missing."""
        ...


Environments = Callable[[Problem], Environment]
"""Makes the environment of one attempt at a problem."""


def import_environments(name: str) -> Environments:
    """`package.module:attribute` as Environments. Raises RecipeError."""
    return environments_from(import_plugin(name, "Class", RecipeError), name)


def environments_from(make: Any, name: str) -> Environments:
    """From a class or function that takes the problem, or nothing, for each attempt. Raises RecipeError."""
    hint = "Give a class with start, act and close, or a function that returns an object of one for each attempt."
    if not callable(make):
        raise RecipeError(
            f"The environment {name} is a {type(make).__name__}, and cannot be called for each attempt.", hint
        )
    try:
        signature = inspect.signature(make)
    except ValueError as error:
        raise RecipeError(f"The environment {name} does not say what it takes.", hint) from error
    for arguments in ((), (None,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return make if arguments else lambda problem: make()
    raise RecipeError(f"The environment {name} can be called neither with a problem nor with nothing.", hint)
