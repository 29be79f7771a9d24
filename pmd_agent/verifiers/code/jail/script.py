"""Runs a program that is a script, in the process that is its own, as `python program.py` does."""

from __future__ import annotations

import builtins
import os
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType

from .python import begin, end, status_of


def play(file: str) -> int:
    """The program in the working directory; the exit status."""
    here = begin(file)
    return end(_run(os.path.join(here, file)), "__main__", here)


def _run(path: str) -> int:
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    vars(module).update(
        __annotations__={},
        __builtins__=builtins,
        __file__=path,
        __cached__=None,
        __loader__=SourceFileLoader("__main__", path),
    )
    try:
        # By its name alone: without a file system of its own, a program may not pass through the folders above.
        with open(os.path.basename(path), "rb") as written:
            source = written.read()
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    except SystemExit as leaving:
        return status_of(leaving)
    except BaseException as error:
        # From the program's own first line on.
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0
