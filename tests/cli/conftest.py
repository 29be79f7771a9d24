"""The command as a user calls it: another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Pmd = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pmd(tmp_path: Path) -> Pmd:
    """pmd("run", ..., code=2): run it in tmp_path and check the exit code. No answer may be a traceback."""

    def call(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pmd_agent", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return call
