r"""Mathematical answers: equal as numbers, expressions, sets, intervals, ..., by math-verify, in LaTeX or plain.

The answer of a completion is what stands in its last `<answer>` tag, else in its last \boxed{}; thinking is taken off. It is
compared in a process of its own (math_worker.py): one that hangs, breaks or fails gives no verdict, never a wrong one.

Where math-verify is more generous than a teacher would be, so is this, but for one thing: where the right answer is a number, an
answer that still has to be worked out (`3 \cdot 5 + 2`) is not taken, or a problem could be answered with its own question.
Numbers in scientific notation, fractions, percent and units in \text{} are taken.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import re
import select
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from pmd_agent.errors import ProblemError, VerifierError
from pmd_agent.text import last_boxed, strip_thinking
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.answer_tag import tagged_answer

_START_SECONDS = 60.0
_WORKER = Path(__file__).with_name("math_worker.py")
_QUOTED = 80
LONGEST = 400
"""Characters of an answer that is looked at."""
NO_ANSWER = "No \\boxed{} answer was found; end with the answer alone in \\boxed{}."

_NUMBER = re.compile(
    r"[-+]?(?:[\d,]*\.?\d+(?:\\?%)?|\\[dt]?frac\s*(?:\{\s*-?\d+\s*\}|\d)\s*(?:\{\s*-?\d+\s*\}|\d)|\d+\s*/\s*\d+)"
)
_UNIT = r"\\(?:text\w*|mathrm|mbox|operatorname)\s*\{[^{}]*\}(?:\s*\^\s*(?:\{\s*-?\d+\s*\}|\d))?|\^\{?\\circ\}?"
_NOT_WORK = re.compile(_UNIT + r"|(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*-?\d+\s*\}|-?\d)")
_BARE = re.compile(_UNIT + r"|\\[,;!: ]|\\ ")
_QUOTIENT = re.compile(r"\d\s*/\s*\d|\\[dt]?frac")
_WORK = re.compile(
    r"[\d)}\]]\s*(?:[+*!^-]|\\(?:times|cdot|div|pm|mp)\b)|\\(?:sqrt|binom|sum|prod|int|log|ln|sin|cos|tan|exp)\b"
)


class CheckFailed(Exception):
    """The check failed, or took too long: nothing is known of the answer."""


class Mathematics:
    """Reward 1 where the answer equals the problem's, else 0. Thread-safe; close it, or let it go with the process."""

    def __init__(self, *, seconds: float = 10.0, processes: int | None = None) -> None:
        """`seconds`: of one comparison. `processes`: at most so many at one time, None for one a core.

        VerifierError where math-verify is not installed.
        """
        if importlib.util.find_spec("math_verify") is None:
            raise VerifierError(
                "The verifier math needs the package math-verify.", "pip install 'math-verify[antlr4_13_2]'"
            )
        self.seconds = seconds
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.parallel = processes or cores
        """How many threads `verify_all` may use."""
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()

    def verify(self, problem: Problem, text: str) -> Verdict:
        """ProblemError where the problem has no answer, CheckFailed where the check itself fails."""
        if not (problem.answer or "").strip():
            raise ProblemError(f"{problem.id} has no answer to compare with.", "Use a verifier that needs none.")
        right, answer = plain(problem.answer or ""), answer_in(text)
        if not answer:
            return Verdict(reward=0.0, correct=False, feedback=NO_ANSWER)
        quoted = answer if len(answer) <= _QUOTED else f"{answer[:_QUOTED]}..."
        if answer == right:
            return Verdict(reward=1.0, correct=True, answer=answer)
        if len(answer) > LONGEST:
            told = f"Your answer has {len(answer)} characters: give the answer alone."
        elif to_be_worked_out(right, answer):
            told = f'Your answer "{quoted}" has still to be worked out: give the number.'
        else:
            reply = self._ask({"gold": right, "answer": answer})
            if reply["equal"]:
                return Verdict(reward=1.0, correct=True, answer=answer)
            told = (
                f'Your answer "{quoted}" is not correct.'
                if reply["read"]
                else f'"{quoted}" cannot be read as an answer.'
            )
        return Verdict(reward=0.0, correct=False, feedback=told, answer=answer)

    def close(self) -> None:
        """End the processes; they start again where they are needed."""
        while True:
            try:
                self._idle.get_nowait().end()
            except queue.Empty:
                return

    def _ask(self, question: dict[str, str]) -> dict[str, Any]:
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = _Worker(self.seconds)
        try:
            reply = worker.ask(question)
        except BaseException:
            worker.end()  # what it would answer next is the answer to this
            raise
        self._idle.put(worker)
        if "error" in reply:
            raise CheckFailed(str(reply["error"]))
        return reply


def answer_in(text: str) -> str:
    """The answer of a completion, empty where there is none."""
    tagged = tagged_answer(text).content
    found = tagged if tagged is not None else last_boxed(strip_thinking(text))
    return plain(found or "")


def plain(text: str) -> str:
    """Without a box, dollar signs and outer punctuation around it; runs of white space are one."""
    text = " ".join((last_boxed(text) or text).replace("\\$", "").replace("$", "").split())
    return text.removesuffix(".").strip()


def to_be_worked_out(right: str, answer: str) -> bool:
    """Whether `right` is a number, with or without a unit, and `answer` a calculation; to a whole number also a fraction is one."""
    number = _BARE.sub(" ", right).strip()
    if not _NUMBER.fullmatch(number):
        return False
    asked = _NOT_WORK.sub(" ", answer)
    return bool(_WORK.search(asked)) or (number.lstrip("+-").isdigit() and bool(_QUOTIENT.search(asked)))


class _Worker:
    """One process that compares. Not thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._patience = seconds + 5.0
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._ended = weakref.finalize(self, _end, self._process)
        self._unread = b""
        try:
            self._read(_START_SECONDS)
        except BaseException:
            self.end()
            raise

    def ask(self, question: dict[str, str]) -> dict[str, Any]:
        """Raises CheckFailed where there is no answer in time."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise CheckFailed(f"the process that compares has ended ({error})") from error
        return self._read(self._patience)

    def end(self) -> None:
        """More than once does nothing."""
        self._ended()

    def _read(self, seconds: float) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = until - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise CheckFailed(f"the comparison took more than {seconds:g} s")
            part = os.read(stdout.fileno(), 1 << 16)
            if not part:
                status = self._process.wait()
                raise CheckFailed(
                    "the comparison took too long" if status == -14 else f"the comparison ended with {status}"
                )
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
