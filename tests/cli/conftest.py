"""The command as a user calls it: another process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import processes

Pmd = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pmd(tmp_path: Path) -> Pmd:
    """pmd("run", ..., code=2): run it in tmp_path and check the exit code. No answer may be a traceback."""

    def call(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = processes.pmd(*arguments, cwd=tmp_path, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return call
