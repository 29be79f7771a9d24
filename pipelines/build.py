"""From the name of a module in a recipe to the module."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import dspy

from pmd_agent.errors import PipelineError
from pmd_agent.named import import_named
from pmd_agent.pipelines.compose import After


def build_program(path: str | Sequence[str], **settings: Any) -> dspy.Module:
    """The module that `package.module:Class` names, or several as `After(first, second, ...)`.

    A module gets those of the recipe's settings (attempts, attempt_chars, insight_lines) that its constructor takes.
    Raises PipelineError.
    """
    if not isinstance(path, str):
        parts = [build_program(one, **settings) for one in path]
        if not parts:
            raise PipelineError("pipeline.reflector is an empty list.", "Name at least one package.module:Class.")
        return parts[0] if len(parts) == 1 else After(*parts)
    found = import_named(path, "Class", PipelineError)
    if not (inspect.isclass(found) and issubclass(found, dspy.Module)):
        raise PipelineError(f"{path} is no dspy.Module.", "Derive the class from dspy.Module.")
    accepted = inspect.signature(
        found.__init__
    ).parameters  # the class itself would show its metaclass's (*args, **kwargs)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    try:
        return found(**{k: v for k, v in settings.items() if takes_all or k in accepted})
    except TypeError as error:
        raise PipelineError(f"{path} cannot be built: {error}", "Give its other arguments defaults.") from None
