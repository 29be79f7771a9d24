"""Reward 1 for a program that passes every test of its problem, 0 else, or the fraction that it passes.

What a problem has to bring in `data`, one of:

    tests    [{"input": ..., "output": ..., "hidden": bool}, ...]: the program is run for each, reads `input` and prints
             `output`; with `entry`, a function's name: `input` has an argument as JSON on each line, `output` is JSON
    check    Python code that defines check(candidate), `entry`, and `prompt`: code that the program continues; `hidden`
             where nothing of the check may be quoted

A program that fails, crashes or takes too long is wrong, and told so. A sandbox that fails raises: then there is no verdict.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.code import feedback
from pmd_agent.verifiers.code.compare import same_output, same_value
from pmd_agent.verifiers.code.extract import last_program
from pmd_agent.verifiers.code.feedback import ERROR, WRONG, Failure
from pmd_agent.verifiers.code.functions import check_function
from pmd_agent.verifiers.code.jail.room import Limits
from pmd_agent.verifiers.code.jail.values import encode
from pmd_agent.verifiers.code.jail.wire import Garbled, WireError, parsed
from pmd_agent.verifiers.code.sandbox import REPLY, REPLY_PARTS, Program, Sandbox, SandboxError
from pmd_agent.verifiers.code.shown import shown


class CodeVerifier:
    """Thread-safe. Close it, or let it go with the process."""

    votes = False
    """Its answers are programs: two right ones are rarely spelt alike."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        total_seconds: float = 50.0,
        fraction: bool = False,
        cores: int | None = None,
        allow_unsafe: bool = False,
    ) -> None:
        """`total_seconds`: by the clock, for all tests of one program. `fraction`: the reward is the share that passes.

        Correct is what passes all tests, whatever the reward: so are published accuracies counted.

        `cores`: programs that are checked at one time, None for one a core.
        """
        self.limits = limits or Limits()
        self.total_seconds, self.fraction = total_seconds, fraction
        self.parallel = cores or usable_cores()
        """How many threads `verify_all` may use."""
        self.sandbox = Sandbox(allow_unsafe=allow_unsafe)

    def verify(self, problem: Problem, text: str) -> Verdict:
        """ProblemError where the problem has no tests, VerifierError where running would be unsafe, else SandboxError."""
        tests = list(problem.data.get("tests") or ())
        if not tests and "check" not in problem.data:
            raise ProblemError(f"{problem.id} has no tests.", "The code verifier needs data['tests'] or data['check'].")
        program = last_program(text)
        if program is None:
            return Verdict(reward=0.0, correct=False, feedback=feedback.NO_PROGRAM)
        if "check" in problem.data:
            fault = check_function(self.sandbox, program, problem.data, self.limits, self.total_seconds)
            return self._verdict(0.0 if fault else 1.0, fault, program)
        # Those that may be shown come first: the first failure is then one that teaches.
        tests.sort(key=lambda test: bool(test.get("hidden")))
        passed, told = self._run(program, tests, problem.data.get("entry"))
        return self._verdict(passed / len(tests) if self.fraction else float(passed == len(tests)), told, program)

    def protections(self) -> dict[str, bool]:
        """What protects here, by name. Raises VerifierError."""
        return self.sandbox.protections()

    def close(self) -> None:
        """End the warm process; it starts again where it is needed."""
        self.sandbox.close()

    def _verdict(self, reward: float, told: str, program: str) -> Verdict:
        return Verdict(reward, reward == 1.0, "" if reward == 1.0 else told, program)

    def _run(self, source: str, tests: list[Mapping[str, Any]], entry: str | None) -> tuple[int, str]:
        """How many tests pass, and what to say of the first that does not; without `fraction` the first is the last."""
        passed, told = 0, ""
        until = time.monotonic() + self.total_seconds
        with self.sandbox.open(self.limits, self.total_seconds + 30) as program:
            program.wire.send({"mode": "tests", "source": source, "entry": entry or ""}, until)
            for number, test in enumerate(tests, start=1):
                failure = self._one(program, test, entry, until)
                if failure is None:
                    passed += 1
                    continue
                told = told or _told(test, failure, f"Test {number} of {len(tests)}")
                if not self.fraction or time.monotonic() > until:
                    break
        return passed, told

    def _one(self, program: Program, test: Mapping[str, Any], entry: str | None, until: float) -> Failure | None:
        # No test may outlast them all: whoever waits for the verdict would give up, and a slow program not be judged.
        wall = min(self.limits.wall, until - time.monotonic())
        if wall <= 0:
            return feedback.timed_out(self.total_seconds)
        # The keeper itself ends a test that takes too long; a keeper that does not answer is the sandbox's fault.
        patience = time.monotonic() + wall + 30
        try:
            program.wire.send({**_request(test, entry), "wall": wall}, patience)
            ended = program.wire.receive(patience)
            sizes = ended.get("sizes", {"errors": 0})
            given = {name: program.wire.receive_bytes(size, patience) for name, size in sizes.items()}
        except WireError as error:
            raise SandboxError(f"the sandbox was lost: {error}") from error
        if not ended.get("reached"):
            raise SandboxError(
                f"a test was not reached: {ended.get('fault') or given['errors'].decode(errors='replace')}"
            )
        return failure_of_run(ended, given["errors"], self.limits, wall) or _compared(given, test, entry)


def usable_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _request(test: Mapping[str, Any], entry: str | None) -> dict[str, Any]:
    if entry is None:
        return {"input": test["input"]}
    return {"args": encode(list(_arguments(test["input"]))), "kwargs": encode({})}


def _arguments(text: str) -> Iterable[Any]:
    return (json.loads(line) for line in text.split("\n") if line.strip())


def failure_of_run(ended: Mapping[str, Any], errors: bytes, limits: Limits, wall: float) -> Failure | None:
    """What went wrong before there was a result to look at."""
    if ended["over"]:
        return Failure(WRONG, f"the program printed more than {limits.output} bytes")
    if ended["late"]:
        return feedback.timed_out(wall)
    if ended["status"] == 0:
        return None
    failure = feedback.ended(ended["status"], ended["seconds"], limits.seconds)
    trace = errors.decode("utf-8", "replace").strip()
    return Failure(ERROR, feedback.raised(trace)) if trace and failure.kind == ERROR else failure


def _compared(given: Mapping[str, bytes], test: Mapping[str, Any], entry: str | None) -> Failure | None:
    if entry is None:
        got = given["output"].decode("utf-8", "replace")
        return None if same_output(got, test["output"]) else Failure(WRONG, "wrong output", got)
    # The program itself can write there, whatever it likes.
    try:
        reply = parsed(given["reply"], REPLY, REPLY_PARTS)
    except Garbled:
        reply = None
    if not isinstance(reply, dict):
        return Failure(ERROR, "the function returned nothing that can be read")
    if "value" not in reply:
        return Failure(ERROR, feedback.raised(feedback.text_of(reply.get("trace"))))
    same = same_value(reply["value"], json.loads(test["output"]))
    return None if same else Failure(WRONG, "wrong result", shown(reply["value"], 400))


def _told(test: Mapping[str, Any], failure: Failure, which: str) -> str:
    if test.get("hidden"):
        return feedback.hidden(failure.kind)
    if failure.got is not None:
        return feedback.failed_output(which, test["input"], test["output"], failure.got)
    return feedback.failed_run(which, test["input"], failure.how)
