"""Compares two answers with math-verify, in a process of its own: a line of JSON in, a line of JSON out.

Started by its path, without the package: symbolic mathematics can hang, or fill the memory, in ways that nothing but the end of
the process stops. An alarm that nobody handles ends it, also where the process that asked is gone.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from typing import Any

MEMORY = 2 << 30
"""Bytes of address space."""


def main() -> None:
    """Serve until the other side hangs up. The first argument: seconds for one comparison."""
    seconds = float(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no reply
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    import math_verify  # noqa: F401 (loaded before the first clock starts)

    replies.write('{"ready": true}\n')
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            told = json.loads(line)
            reply = compare(told["gold"], told["answer"])
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(json.dumps(reply) + "\n")


def compare(gold: str, answer: str) -> dict[str, Any]:
    """`equal`, and whether the answer was `read` at all. Raises where the gold answer cannot be read, or comparing fails."""
    from math_verify import verify

    right, given = _parsed(gold), _parsed(answer)
    if not right:
        raise ValueError("the right answer cannot be read as mathematics")
    return {"equal": verify(right, given, timeout_seconds=None, raise_on_error=True), "read": bool(given)}


def _parsed(text: str) -> list[Any]:
    """As LaTeX only: the parser for plain expressions evaluates Python."""
    from math_verify import LatexExtractionConfig, parse

    found: list[Any] = parse(f"${text.replace('$', ' ')}$", [LatexExtractionConfig()], parsing_timeout=None)
    return found


if __name__ == "__main__":
    main()
