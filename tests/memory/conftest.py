from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import pmd_agent
from pmd_agent.memory import HashingEmbedder, Memory

WRITER = Path(__file__).with_name("writer.py")
# So that a process of its own finds the package, installed or not.
ENV = {**os.environ, "PYTHONPATH": str(Path(pmd_agent.__file__).parents[1])}


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """writer.py's samples: make.experience(...), make.insight(...), make.behavior(...), make.dump(...), ..."""
    return SimpleNamespace(**runpy.run_path(str(WRITER)), path=WRITER, env=ENV)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory", HashingEmbedder(64)) as opened:
        yield opened
