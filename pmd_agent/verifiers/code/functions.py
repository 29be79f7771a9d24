"""Functions with tests that are code: `check(candidate)`, as in HumanEval.

Tests and program run in two sandboxes that cannot reach each other. Here, between them, every call of the candidate is
passed on as plain values, so that what the program has patched, in its own interpreter, means nothing to the asserts.
What follows from that: results that are no plain values (a generator, an instance of its own class) fail, and a program that
changes its arguments in place changes a copy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pmd_agent.verifiers.code import feedback
from pmd_agent.verifiers.code.jail.room import Limits
from pmd_agent.verifiers.code.jail.values import NotPlain, decode
from pmd_agent.verifiers.code.jail.wire import Garbled, Gone, Late, WireError
from pmd_agent.verifiers.code.sandbox import Program, Sandbox, SandboxError


def check_function(sandbox: Sandbox, source: str, data: Mapping[str, Any], limits: Limits, total_seconds: float) -> str:
    """What is wrong with the program, or nothing. Raises SandboxError where that cannot be found out."""
    whole = replace(limits, wall=total_seconds)
    lifetime = total_seconds + 30
    with sandbox.open(whole, lifetime) as program, sandbox.open(whole, lifetime) as tests:
        return _Check(program, tests, limits, total_seconds).run(source, data)


class _Check:
    """One program against one check."""

    def __init__(self, program: Program, tests: Program, limits: Limits, total_seconds: float) -> None:
        self.program, self.tests, self.limits = program, tests, limits
        self.until = time.monotonic() + total_seconds
        self.call = ""
        """The last call, and what came of it, in words."""
        self.trace = ""
        """The end of the traceback, where the last call raised an error."""
        self.hidden = False
        """Whether nothing of the tests may be quoted."""

    def run(self, source: str, data: Mapping[str, Any]) -> str:
        prompt, entry, self.hidden = data.get("prompt", ""), data["entry"], bool(data.get("hidden"))
        told = {"mode": "calls", "source": source, "before": prompt, "entry": entry}
        loaded = self._ask_program(told)
        if isinstance(loaded, str):
            return loaded
        if "loaded" not in loaded:
            return feedback.raised(str(loaded.get("trace")))
        self._tell_tests({"mode": "check", "prompt": prompt, "test": data["check"], "entry": entry})
        while True:
            asked = self._hear_tests()
            if "passed" in asked:
                return "" if asked["passed"] is True else self._failed(asked)
            reply = self._ask_program(asked)
            if isinstance(reply, str):
                return reply
            self._tell_tests(self._plain(asked, reply))

    def _ask_program(self, message: dict[str, Any]) -> dict[str, Any] | str:
        """Its reply, or what is wrong with it."""
        patience = min(self.until, time.monotonic() + self.limits.wall)
        try:
            self.program.wire.send(message, patience)
            return self.program.wire.receive(patience)
        except Late:
            return feedback.timed_out(self.limits.wall)
        except Garbled:
            return "the function returned nothing that can be read"
        except Gone:
            return self._died()

    def _died(self) -> str:
        ended = self.program.ended()
        if not ended:
            raise SandboxError("the program's sandbox was lost")
        if not ended["reached"]:
            raise SandboxError("the program was not reached")
        if ended["late"]:
            return feedback.timed_out(self.limits.wall)
        if feedback.out_of_time(ended["status"], ended["seconds"], self.limits.seconds):
            return feedback.timed_out(self.limits.seconds)
        return feedback.ended(ended["status"])

    def _plain(self, asked: Mapping[str, Any], reply: Mapping[str, Any]) -> dict[str, Any]:
        """The reply as the tests may have it: nothing but a value or an error, whatever the program has sent."""
        given = ", ".join(feedback.trimmed(_shown(value), 200) for value in decode(asked["args"]))
        self.call, self.trace = f"candidate({given})", ""
        if "value" in reply:
            try:
                self.call += f" returned {feedback.trimmed(_shown(decode(reply['value'])), 300)}"
                return {"value": reply["value"]}
            except NotPlain as error:
                reply = {"error": "TypeError", "trace": f"The function returned {error}."}
        self.trace = str(reply.get("trace"))
        self.call += " raised an error"
        return {"error": str(reply.get("error")), "trace": self.trace}

    def _failed(self, told: Mapping[str, Any]) -> str:
        if self.hidden and self.call:
            return feedback.hidden("the program raised an error" if self.trace else "wrong result")
        if self.trace:
            return f"{self.call}: {feedback.raised(self.trace)}"
        if not self.call:
            raise SandboxError(f"the tests fail before they call anything: {told.get('trace')}")
        return f"{self.call}.\n{feedback.trimmed(str(told.get('trace')), 600)}"

    def _tell_tests(self, message: dict[str, Any]) -> None:
        try:
            self.tests.wire.send(message, self.until)
        except WireError as error:
            raise SandboxError(f"the tests were lost: {error}") from error

    def _hear_tests(self) -> dict[str, Any]:
        try:
            return self.tests.wire.receive(self.until)
        except WireError as error:
            raise SandboxError(f"the tests were lost: {error}") from error


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of more digits than Python writes out
        return f"<{type(value).__name__} with a number of very many digits>"
