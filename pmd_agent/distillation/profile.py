"""`distill.profile`: what one step does, operator by operator, as a trace that chrome://tracing and Perfetto open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

STEP = 1
"""Of a process, the first being 0: that one also compiles kernels and fills caches."""


class Profiler:
    """Traces one step of this process into a folder; without a folder it does nothing."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._seen = 0

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Within is the run's step of this number."""
        traced = self.folder is not None and self._seen == STEP
        self._seen += 1
        if not traced:
            yield
            return
        from torch.profiler import ProfilerActivity, profile

        gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
        with profile(activities=[ProfilerActivity.CPU, *gpu]) as seen:
            yield
        assert self.folder is not None
        seen.export_chrome_trace(str(self.folder / f"distil-step-{number}.trace.json"))
