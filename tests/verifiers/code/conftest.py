from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmd_agent.errors import VerifierError
from pmd_agent.verifiers.code import CodeVerifier, Limits, protections


@pytest.fixture(scope="session")
def on() -> dict[str, bool]:
    """Which protections this machine gives."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the sandbox is for Linux")
    try:
        return protections()
    except VerifierError as error:
        pytest.skip(f"no sandbox here: {error}")


@pytest.fixture(scope="session")
def whole(on: dict[str, bool]) -> None:
    """Only where everything is on; but root alone can have programs run as another user."""
    missing = [name for name in on if not on[name] and name != "user"]
    if missing:
        pytest.skip(f"this machine gives no {', '.join(missing)}")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where programs get their folders: not where those of other processes are."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("folders"))
    yield Path(tempfile.tempdir)
    tempfile.tempdir = before


@pytest.fixture(scope="session")
def verifier(on: dict[str, bool], folders: Path) -> Iterator[CodeVerifier]:
    """With short limits of processor time; of the clock not so short, since tests run on busy machines."""
    made = CodeVerifier(limits=Limits(seconds=1.0, wall=20.0, memory=1 << 28, output=1 << 20, disk=1 << 22))
    yield made
    made.close()
