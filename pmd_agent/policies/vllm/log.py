"""The reason why a vLLM server ended, out of its own log."""

from __future__ import annotations

import re

_PREFIX = re.compile(
    r"^(?:\((?:APIServer|EngineCore|Worker|ApiServer)[^)]*\)\s*)?(?:[A-Z]+ \d\d-\d\d [\d:.]+ \[[^]]*\]\s*)?"
)
"""`(APIServer pid=12) ERROR 11-23 00:43:01 [core.py:12] `"""
_REASON = re.compile(
    r"^(?:[\w.]*(?:Error|Exception|Interrupt)\b|[\w./-]*: error)\s*:\s*\S|^Segmentation fault|No module named "
)
_EMPTY = re.compile(
    r"Engine core initialization failed|See root cause above|cancelled|CancelledError|EngineDeadError|leaked"
)
"""Lines that only say that something else was wrong."""


def reason_in(log: str) -> str:
    """The last line that names an error, and what belongs to it; else the last line. Empty for an empty log."""
    lines = [_PREFIX.sub("", line).strip() for line in log.splitlines()]
    errors = [i for i, line in enumerate(lines) if _REASON.search(line) and not _EMPTY.search(line)]
    if not errors:
        return next((line for line in reversed(lines) if line), "")
    last = errors[-1]
    said = [lines[last]]
    if re.search(r"\bvalidation errors? for\b", lines[last]):  # pydantic: what is wrong comes on the next line
        said += [line for line in lines[last + 1 : last + 3] if line and not line.startswith("For further")]
    return " ".join(said)[:600]
