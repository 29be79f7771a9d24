"""Functions with tests that are code: `check(candidate)`, as in HumanEval.

Tests and program run in two sandboxes that cannot reach each other. Here, between them, every call of the candidate is
passed on as plain values, so that what the program has patched, in its own interpreter, means nothing to the asserts.
What follows from that: results that are no plain values (a generator, an instance of its own class) fail, and a program that
changes its arguments in place changes a copy.

Whatever happens from the first call on is the program's doing, be it that the tests run out of time or memory with what it has
returned: else it could have itself not judged. Before that the tests alone run, and their failure is no verdict on anything.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pmd_agent.verifiers.code import feedback
from pmd_agent.verifiers.code.feedback import ERROR, WRONG, Failure, text_of
from pmd_agent.verifiers.code.jail.room import Limits
from pmd_agent.verifiers.code.jail.wire import Garbled, Gone, Late
from pmd_agent.verifiers.code.sandbox import Program, Sandbox, SandboxError
from pmd_agent.verifiers.code.shown import shown

_ARGUMENTS, _ARGUMENTS_PARTS = 1 << 24, 1 << 20
"""Bytes, and lists and objects, of what the tests give in one call."""


def check_function(sandbox: Sandbox, source: str, data: Mapping[str, Any], limits: Limits, total_seconds: float) -> str:
    """What is wrong with the program, or nothing. Raises SandboxError where that cannot be found out."""
    whole = replace(limits, wall=total_seconds)
    lifetime = total_seconds + 30
    with sandbox.open(whole, lifetime) as program, sandbox.open(whole, lifetime) as tests:
        tests.wire.limit, tests.wire.parts = _ARGUMENTS, _ARGUMENTS_PARTS
        return _Check(program, tests, limits, total_seconds, data).run(source)


class _Failed(Exception):
    """The program, not the sandbox."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.how)
        self.failure = failure


class _Check:
    """One program against one check."""

    def __init__(
        self, program: Program, tests: Program, limits: Limits, total_seconds: float, data: Mapping[str, Any]
    ) -> None:
        self.program, self.tests, self.limits, self.total_seconds = program, tests, limits, total_seconds
        self.until = time.monotonic() + total_seconds
        self.prompt, self.code, self.entry = data.get("prompt", ""), data["check"], data["entry"]
        self.hidden = bool(data.get("hidden"))
        """Whether nothing of the tests may be quoted."""
        self.call = ""
        """The last call, and what came of it, in words."""
        self.trace: str | None = None
        """The end of the traceback, where the last call raised an error."""

    def run(self, source: str) -> str:
        """What is to be told of it; empty where it passes."""
        try:
            self._load(source)
            self._compare()
        except _Failed as error:
            return feedback.hidden(error.failure.kind) if self.hidden and self.call else error.failure.how
        return ""

    def _load(self, source: str) -> None:
        loaded = self._ask_program({"mode": "calls", "source": source, "before": self.prompt, "entry": self.entry})
        if "loaded" not in loaded:
            raise _Failed(Failure(ERROR, feedback.raised(text_of(loaded.get("trace")))))

    def _compare(self) -> None:
        """Pass calls on until the tests are through."""
        asked = self._ask_tests({"mode": "check", "prompt": self.prompt, "test": self.code, "entry": self.entry})
        while "passed" not in asked:
            self.call, self.trace = f"candidate({_arguments(asked)})", None
            asked = self._ask_tests(self._plain(self._ask_program(asked)))
        if asked["passed"] is not True:
            raise _Failed(self._failure(asked))

    def _ask_program(self, message: dict[str, Any]) -> dict[str, Any]:
        """Its reply."""
        patience = min(self.until, time.monotonic() + self.limits.wall)
        try:
            self.program.wire.send(message, patience)
            return self.program.wire.receive(patience)
        except Late:
            raise _Failed(feedback.timed_out(self.limits.wall)) from None
        except Garbled:
            raise _Failed(Failure(ERROR, "the function returned nothing that can be read")) from None
        except Gone:
            raise _Failed(self._death(self.program)) from None

    def _ask_tests(self, message: dict[str, Any]) -> dict[str, Any]:
        """What they ask for next."""
        try:
            self.tests.wire.send(message, self.until)
            return self.tests.wire.receive(self.until)
        except Late:
            failure = feedback.timed_out(self.total_seconds)
        except Garbled:
            failure = Failure(WRONG, f"{self.call}, which is too much for the tests")
        except Gone:
            failure = self._death(self.tests)
            if failure.kind == ERROR:
                failure = Failure(WRONG, f"{self.call}, which the tests do not survive")
        if not self.call:
            raise SandboxError(f"the tests fail before they call anything: {failure.how}")
        raise _Failed(failure)

    def _death(self, of: Program) -> Failure:
        """How a process that has hung up has ended. Raises SandboxError where no program can have done that."""
        ended = of.ended()
        if not ended:
            raise SandboxError("a sandbox was lost")
        if not ended["reached"]:
            raise SandboxError("the program was not reached")
        if ended["late"]:
            return feedback.timed_out(self.total_seconds)
        return feedback.ended(ended["status"], ended["seconds"], self.limits.seconds)

    def _plain(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        """The reply as the tests may have it: nothing but a value or an error, whatever the program has sent."""
        if "value" in reply:
            self.call += f" returned {shown(reply['value'], 300)}"
            return {"value": reply["value"]}
        self.call += " raised an error"
        self.trace = text_of(reply.get("trace"))
        return {"error": text_of(reply.get("error")), "trace": self.trace}

    def _failure(self, told: Mapping[str, Any]) -> Failure:
        """Of asserts, which may be about the last call."""
        if not self.call:
            raise SandboxError(f"the tests fail before they call anything: {told.get('trace')}")
        if self.trace is not None:
            return Failure(ERROR, f"{self.call}: {feedback.raised(self.trace)}")
        return Failure(WRONG, f"{self.call}.\n{feedback.trimmed(text_of(told.get('trace')), 600)}")


def _arguments(asked: Mapping[str, Any]) -> str:
    """Of a call. Some of it may be what the program has returned before."""
    args, kwargs = asked.get("args"), asked.get("kwargs")
    named = kwargs.get("of") if isinstance(kwargs, dict) else None
    parts = [shown(value, 200) for value in args] if isinstance(args, list) else []
    parts += [f"{name}={shown(value, 200)}" for name, value in named] if isinstance(named, list) else []
    return ", ".join(parts)
