"""A program run for what it prints: the python tool of an agent, in the sandbox in which answers are checked."""

from __future__ import annotations

import threading
import time

from pmd_agent.text import cut
from pmd_agent.verifiers.code.jail.room import Limits
from pmd_agent.verifiers.code.jail.wire import WireError
from pmd_agent.verifiers.code.sandbox import Sandbox, SandboxError
from pmd_agent.verifiers.code.verifier import failure_of_run, usable_cores

MOST_CHARS = 20_000
"""Of what a program prints; an environment's limits come on top."""


class Scripts:
    """Thread-safe. Close it, or let it go with the process."""

    def __init__(self, limits: Limits | None = None, *, cores: int | None = None, allow_unsafe: bool = False) -> None:
        """`cores`: programs at one time, None for one a core."""
        self.limits = limits or Limits()
        self._sandbox = Sandbox(allow_unsafe=allow_unsafe)
        self._places = threading.Semaphore(cores or usable_cores())

    def run(self, source: str) -> str:
        """What it prints, and how it failed where it did. VerifierError where running would be unsafe, else SandboxError."""
        with self._places, self._sandbox.open(self.limits, self.limits.wall + 60) as program:
            patience = time.monotonic() + self.limits.wall + 30
            try:
                program.wire.send({"mode": "tests", "source": source, "entry": ""}, patience)
                program.wire.send({"input": "", "wall": self.limits.wall}, patience)
                ended = program.wire.receive(patience)
                sizes = ended.get("sizes", {"errors": 0})
                given = {name: program.wire.receive_bytes(size, patience) for name, size in sizes.items()}
            except WireError as error:
                raise SandboxError(f"the sandbox was lost: {error}") from error
        if not ended.get("reached"):
            raise SandboxError(f"the program was not reached: {ended.get('fault')}")
        failure = failure_of_run(ended, given["errors"], self.limits, self.limits.wall)
        printed = cut(given.get("output", b"").decode("utf-8", "replace"), MOST_CHARS)
        if failure is None:
            return printed or "(nothing was printed)"
        return f"{printed}\n{failure.how}".strip()

    def close(self) -> None:
        """End the warm process; it starts again where it is needed."""
        self._sandbox.close()
