"""The hub's client tells of each try that fails, in two lines. One line is enough."""

from __future__ import annotations

import logging
import time

LOGGER = "huggingface_hub.utils._http"
QUIET_SECONDS = 600.0


class OnceInAWhile(logging.Filter):
    """Of failed tries the first is told, and no other for some minutes. What else is logged passes."""

    def __init__(self) -> None:
        super().__init__()
        self._told: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if not ("thrown while requesting" in text or text.startswith("Retrying in ")):
            return True
        if self._told is not None and time.monotonic() - self._told < QUIET_SECONDS:
            return False
        self._told = time.monotonic()
        reason = text.partition(" thrown while requesting")[0].strip("'")
        record.msg, record.args = f"the Hugging Face hub does not answer ({reason}); trying again for some seconds", ()
        return True


def tell_once() -> None:
    """From now on in this process."""
    logging.getLogger(LOGGER).addFilter(OnceInAWhile())
