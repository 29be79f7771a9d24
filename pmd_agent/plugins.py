"""What a recipe names as `package.module:attribute`, imported: a verifier, a source of problems, a DSPy module."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from typing import Any

from pmd_agent.errors import PMDError


def import_plugin(name: str, kind: str, error: type[PMDError]) -> Any:
    """The attribute. Modules in the working directory are found too. `kind` (function, Class) and `error` word what is wrong."""
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute.isidentifier()):
        raise error(f"{name!r} does not name a Python {kind}.", f"Write it as package.module:{kind}")
    if module_name.startswith("."):
        raise error(f"{name} is relative, and there is nothing it could be relative to.", "Write the full name.")
    # A console script, unlike `python -m`, does not look into the working directory.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as reason:
        frame = traceback.extract_tb(reason.__traceback__)[-1]
        place = "" if isinstance(reason, ImportError | SyntaxError) else f", at {frame.filename}:{frame.lineno}"
        raise error(
            f"{module_name} (from {name}) cannot be imported: {type(reason).__name__}: {reason}{place}",
            f"It must be installed, or lie in {os.getcwd()}.",
        ) from reason
    found = getattr(module, attribute, None)
    if found is None:
        close = difflib.get_close_matches(attribute, dir(module), n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "Check the name after the colon."
        raise error(f"{module_name} has no {attribute!r}.", hint)
    return found
