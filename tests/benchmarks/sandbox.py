"""How many programs a second the sandbox checks, and what share of that is the sandbox itself.

    python -m tests.benchmarks.sandbox data/HumanEval.jsonl [--copies 8]

Takes HumanEval's solutions and one mutant of each, half of the programs each; checks `copies` programs of every problem; prints
the rate, and where the seconds of the checking threads went:

    sandboxes   starting a sandbox and waiting until it is ready, ending it and all that is in it
    checking    between the two: the program, its tests, and every call that goes from one to the other
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmd_agent.types import Problem
from pmd_agent.verifiers import verify_all
from pmd_agent.verifiers.code import CodeVerifier, Limits, sandbox
from tests.verifiers.code.mutants import mutants


class Clock:
    """Seconds spent inside of what it wraps, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds, self.count = 0.0, 0

    def wrap(self, function: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                with self._lock:
                    self.seconds += time.perf_counter() - started
                    self.count += 1

        return timed


@contextmanager
def clocks(made: CodeVerifier) -> Any:
    """Clocks on starting and on ending sandboxes, and on whole verdicts."""
    starting, ending, whole = Clock(), Clock(), Clock()
    opened, closed, verify = sandbox.Sandbox.open, sandbox.Program.close, CodeVerifier.verify
    sandbox.Sandbox.open, sandbox.Program.close = starting.wrap(opened), ending.wrap(closed)  # type: ignore[method-assign]
    CodeVerifier.verify = whole.wrap(verify)  # type: ignore[method-assign]
    try:
        yield starting, ending, whole
    finally:
        sandbox.Sandbox.open, sandbox.Program.close, CodeVerifier.verify = opened, closed, verify  # type: ignore[method-assign]


def programs(path: Path, copies: int) -> tuple[list[Problem], list[list[str]]]:
    problems, texts = [], []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        data = {"prompt": row["prompt"], "check": row["test"], "entry": row["entry_point"]}
        problems.append(Problem(row["task_id"], "?", data=data))
        right = row["prompt"] + row["canonical_solution"]
        wrong = next(mutants(right, row["entry_point"], row["task_id"]))[1]
        texts.append([f"```python\n{wrong if copy % 2 else right}\n```" for copy in range(copies)])
    return problems, texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    given = parser.parse_args()
    problems, texts = programs(given.rows, given.copies)
    made = CodeVerifier(limits=Limits(seconds=6.0, wall=15.0))
    print("protections:", ", ".join(name for name, on in made.protections().items() if on))
    with clocks(made) as (starting, ending, whole):
        started = time.perf_counter()
        verified = verify_all(made, problems, texts)
        seconds = time.perf_counter() - started
    made.close()
    verdicts = [verdict for group in verified.verdicts_PG for verdict in group]
    right = sum(verdict.correct is True for verdict in verdicts)
    overhead = starting.seconds + ending.seconds
    print(
        f"{len(verdicts)} programs in {seconds:.1f} s, {len(verdicts) / seconds:.1f} a second, {made.parallel} at a time"
    )
    print(f"right {right}, wrong {len(verdicts) - right - verified.unchecked}, not checked {verified.unchecked}")
    print(
        f"starting a sandbox {1000 * starting.seconds / starting.count:.1f} ms, ending it {1000 * ending.seconds / ending.count:.1f} ms, {starting.count} of them"
    )
    print(
        f"sandboxes {100 * overhead / whole.seconds:.0f} % of the threads' {whole.seconds:.1f} s, checking {100 - 100 * overhead / whole.seconds:.0f} %"
    )


if __name__ == "__main__":
    main()
