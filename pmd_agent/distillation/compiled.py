"""The loss of a chunk compiled where that pays: on a GPU, where its passes over the vocabulary become few kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


LARGE = 32_000
"""Tokens of a vocabulary for which compiling takes less than it saves; the code is kept on disk for later runs."""


class Guarded:
    """Tries a compiled function first; once it has failed, the plain one does the work, and `say` has heard why."""

    def __init__(self, say: Callable[[str], None], vocabulary: int = LARGE) -> None:
        self.say = say
        self.failed = vocabulary < LARGE

    def run(self, work: Callable[[bool], R], *, device: torch.device) -> R:
        """`work(whether compiled)`: it must leave nothing behind where it fails."""
        if device.type != "cuda" or self.failed:
            return work(False)
        try:
            return work(True)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler and what it calls may raise
            found = work(False)  # where this fails as well, the fault is not the compiler's
            self.failed = True
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            self.say(f"the loss is not compiled, which costs some time: {reason[:200]}")
            return found


@cache
def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled at its first call; for a second size, for all sizes."""
    return torch.compile(function, fullgraph=True)
