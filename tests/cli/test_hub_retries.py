"""Many failed tries of the hub's client are one line."""

from __future__ import annotations

import logging

import pytest

from pmd_agent.cli.hub_retries import OnceInAWhile


def test_one_line_of_many(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test of retries")
    logger.addFilter(OnceInAWhile())
    for seconds in (1, 2, 4, 8):
        logger.warning("'[Errno 111] Connection refused' thrown while requesting HEAD http://127.0.0.1:9/a/b")
        logger.warning(f"Retrying in {seconds}s [Retry 1/5].")
    logger.warning("100% of something else")
    assert caplog.messages == [
        "the Hugging Face hub does not answer ([Errno 111] Connection refused); trying again for some seconds",
        "100% of something else",
    ]
