"""A verifier of the user's own: `package.module:function`, called as `function(problem, text)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pmd_agent.errors import RecipeError
from pmd_agent.plugins import import_plugin
from pmd_agent.types import Problem, Verdict


@dataclass(frozen=True, slots=True)
class FunctionVerifier:
    """What the function returns is taken as

    - a Verdict: as it is,
    - a bool: reward 1 or 0,
    - a number in [0, 1] (numpy and torch scalars too): the reward, correct from `success_threshold` on,
    - None: could not be checked.

    Anything else is a TypeError or ValueError, which `verify_all` counts as not checked.
    """

    function: Callable[[Problem, str], Any]
    name: str
    success_threshold: float = 0.5

    def verify(self, problem: Problem, text: str) -> Verdict:
        """What the function says, as a Verdict; whatever it raises is raised."""
        returned = self.function(problem, text)
        if isinstance(returned, Verdict):
            return returned
        if returned is None:
            return Verdict(reward=None, correct=None, feedback="")
        # A numpy or torch scalar is neither a bool nor a float before this.
        value = returned.item() if hasattr(returned, "item") else returned
        if not isinstance(value, bool | int | float):
            kind = type(returned).__name__
            raise TypeError(f"{self.name} returned a {kind} instead of a Verdict, a number in [0, 1], a bool or None")
        reward = float(value)
        if not 0.0 <= reward <= 1.0:
            raise ValueError(f"{self.name} returned {reward}, outside of [0, 1]")
        return Verdict(reward=reward, correct=reward >= self.success_threshold)


def import_verifier(name: str, success_threshold: float = 0.5) -> FunctionVerifier:
    """RecipeError where the function cannot be imported or called with (problem, text).

    Modules in the working directory are found too.
    """
    function = import_plugin(name, "function", RecipeError)
    check_callable(function, name)
    return FunctionVerifier(function, name, success_threshold)


def check_callable(function: Any, name: str) -> None:
    """RecipeError where it cannot be called as a verifier is."""
    hint = "Write it as: def verify(problem, text) -> float"
    if not callable(function) or inspect.isclass(function):
        raise RecipeError(f"{name} is a {type(function).__name__}, not a function.", hint)
    if inspect.iscoroutinefunction(function):
        raise RecipeError(f"{name} is an async function: a verifier is called and must return.", hint)
    try:
        inspect.signature(function).bind(None, "")
    except TypeError as error:
        raise RecipeError(f"{name} cannot be called with (problem, text): {error}.", hint) from error
    except ValueError:
        # Some functions written in C have no signature to look at; the first call will tell.
        return
