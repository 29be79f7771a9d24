"""From the name of a module in a recipe to the module."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Sequence
from typing import Any

import dspy

from pmd_agent.errors import PipelineError
from pmd_agent.pipelines.compose import After
from pmd_agent.plugins import import_plugin


def build_program(path: str | Sequence[str], called_with: Sequence[str] = (), **settings: Any) -> dspy.Module:
    """The module that `package.module:Class` names, or several as `After(first, second, ...)`.

    `called_with`: what its `forward` will be called with, and each after the first of several with `draft`, too. Empty:
    that is not looked at.
    A module gets those of the recipe's settings (attempts, attempt_chars, insight_lines, style) that its constructor takes.
    Raises PipelineError.
    """
    if not isinstance(path, str):
        parts = [
            build_program(one, [*called_with, "draft"] if called_with and number else called_with, **settings)
            for number, one in enumerate(path)
        ]
        if not parts:
            raise PipelineError("pipeline.reflector is an empty list.", "Name at least one package.module:Class.")
        return parts[0] if len(parts) == 1 else After(*parts)
    found = import_plugin(path, "Class", PipelineError)
    if not (inspect.isclass(found) and issubclass(found, dspy.Module)):
        raise PipelineError(f"{path} is no dspy.Module.", "Derive the class from dspy.Module.")
    if called_with:
        check_call(path, found, called_with)
    accepted = inspect.signature(
        found.__init__
    ).parameters  # the class itself would show its metaclass's (*args, **kwargs)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    try:
        return found(**{k: v for k, v in settings.items() if takes_all or k in accepted})
    except TypeError as error:
        raise PipelineError(f"{path} cannot be built: {error}", "Give its other arguments defaults.") from None
    except Exception as error:
        raise PipelineError(f"{path} cannot be built: {where(error)}.", "Mend its constructor.") from error


def check_call(name: str, found: type, names: Sequence[str]) -> None:
    """Whether modules of that class can be called with these arguments, by name. Raises PipelineError."""
    if found.__call__ is not dspy.Module.__call__:
        return  # it has a way of its own
    try:
        inspect.signature(found.forward).bind(None, **dict.fromkeys(names))  # type: ignore[attr-defined]
    except (AttributeError, TypeError) as error:
        raise PipelineError(
            f"{name} cannot be called with ({', '.join(names)}): {error}.",
            f"Write it as: def forward(self, {', '.join(names)}). One that needs a draft stands after another in a list.",
        ) from None


def where(error: BaseException) -> str:
    """An error of somebody else's code in one line: its kind, what it says, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
