from __future__ import annotations

import sys
from collections.abc import Iterator

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
    """Only where everything is on."""
    if not all(on.values()):
        pytest.skip(f"this machine gives no {', '.join(name for name in on if not on[name])}")


@pytest.fixture(scope="session")
def verifier(on: dict[str, bool]) -> Iterator[CodeVerifier]:
    """With short limits of processor time; of the clock not so short, since tests run on busy machines."""
    made = CodeVerifier(limits=Limits(seconds=1.0, wall=20.0, memory=1 << 28, output=1 << 20, disk=1 << 22))
    yield made
    made.close()
