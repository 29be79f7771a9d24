"""From the name of a module in a recipe to the module."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

import dspy

from pmd_agent.errors import PipelineError
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
    module_name, colon, class_name = path.partition(":")
    if not (module_name and colon and class_name):
        raise PipelineError(
            f"{path!r} names no module.", "Write package.module:Class, such as pmd_agent.pipelines:Reflector."
        )
    if os.getcwd() not in sys.path:  # a module that lies beside the recipe's user
        sys.path.insert(0, os.getcwd())
    if module_name.startswith("."):
        raise PipelineError(
            f"{path} is relative, and there is nothing it could be relative to.", "Write the module's full name."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise PipelineError(
            f"{path} cannot be imported: {error}", "Check the spelling, and that it can be imported from here."
        ) from None
    if not hasattr(module, class_name):
        raise PipelineError(f"{module_name} has no {class_name}.", "Check the name after the colon.")
    found = getattr(module, class_name)
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
