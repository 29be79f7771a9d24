r"""Mathematical answers, in LaTeX or plain: numbers exactly, words as words, everything else by math-verify.

The answer of a completion is what stands in its last `<answer>` tag, else in its last \boxed{}; thinking is taken off. Then

    markup.py       takes off what chat models write around it: **42**, \[42\], 90°, 2√3, 1e3
    quantities.py   compares numbers with their units, times and numerals with a base: exactly, all of it
    words.py        compares words: `stop` is not `post`
    names.py        takes off `x =`, and keeps R and r apart
    notation.py     knows what may not be reordered, and sets by their condition
    math_worker.py  compares the rest, in a process of its own: one that hangs, breaks or fails gives no verdict, never a wrong one

Lists without brackets are compared in any order, each answer by these rules. Where the right answer is a number, an answer that
still has to be worked out (`3 \cdot 5 + 2`) is not taken, or a problem could be answered with its own question.
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
from pmd_agent.verifiers.markup import plain
from pmd_agent.verifiers.names import assigned_in_order, kept_apart, result_of, unassigned
from pmd_agent.verifiers.notation import out_of_order, set_condition
from pmd_agent.verifiers.quantities import is_number, quantity, ratio, same
from pmd_agent.verifiers.units import Unit, all_measures, contradict, unit_of
from pmd_agent.verifiers.words import same_words, with_words

_START_SECONDS = 60.0
_WORKER = Path(__file__).with_name("math_worker.py")
_QUOTED = 80
LONGEST = 400
"""Characters of an answer that is looked at."""
NO_ANSWER = "No \\boxed{} answer was found; end with the answer alone in \\boxed{}."

_UNIT = r"\\(?:text|operatorname)\s?\{[^{}]*\}(?:\s?\^\s?(?:\{\s?-?\d+\s?\}|\d))?|\^\{?\\circ\}?"
_NOT_WORK = re.compile(_UNIT + r"|\\times\s?10\^\{[-+]?\d+\}")
_QUOTIENT = re.compile(r"\d\s?/\s?\d|\\frac")
_WORK = re.compile(
    r"[\d)}\]]\s?(?:[+*!^-]|\\(?:times|cdot|div|pm|mp)\b)|\\(?:sqrt|binom|sum|prod|int|log|ln|sin|cos|tan|exp)\b"
)
_TRAILING_UNIT = re.compile(r"\s?\\text\{[^{}]*\}(?:\s?\^\s?(?:\{\s?\d\s?\}|\d))?$")
_PLAIN_UNIT = re.compile(
    r"\s(?:(?:sq|square|cubic)\s)?(?:[A-Za-z]{2,}|(?<![A-Za-z]\s)[mgshL])(?:\s?(?:/|per)\s?[A-Za-z]+)?(?:\s?\^\s?(?:\{\s?\d\s?\}|\d))?$"
)
_APART = re.compile(r"(?<![_\d])\d+\s+\d")
_LISTED = re.compile(
    r"(?P<separator>[,;]|\\text\{\s?,?\s?(?:and|or)\s?\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))"
    r"|\\begin\{|\\end\{|\\[{}]|[()\[\]{}]"
)
_OPENING, _CLOSING = ("\\begin{", "\\{", "(", "[", "{"), ("\\}", ")", "]", "}")
_LONGEST_LIST = 12


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
        elif to_be_worked_out(right, result_of(answer)):
            told = f'Your answer "{quoted}" has still to be worked out: give the number.'
        else:
            equal, read = self._compare(right, answer)
            if equal:
                return Verdict(reward=1.0, correct=True, answer=answer)
            told = f'Your answer "{quoted}" is not correct.' if read else f'"{quoted}" cannot be read as an answer.'
        return Verdict(reward=0.0, correct=False, feedback=told, answer=answer)

    def _compare(self, right: str, answer: str) -> tuple[bool, bool]:
        """(whether they are the same, whether `answer` could be read)."""
        known = _known(right, answer)
        if known is not None:
            return known, True
        ones, others = _listed(right), _listed(answer)
        if 1 < len(ones) <= _LONGEST_LIST and len(others) > 1:
            return self._same_lists(ones, others)
        right, answer = unassigned(set_condition(right), set_condition(result_of(answer)))
        known = _known(right, answer)
        if known is not None:
            return known, True
        if out_of_order(right, answer):
            return False, True
        (right, unit), (answer, given) = _without_unit(right), _without_unit(answer)
        if contradict(unit, given):
            return False, True
        if _APART.search(right) or _APART.search(answer):  # a parser would take 3 4 for a sum, or a product
            return right == answer, True
        right, answer = kept_apart(right, answer)
        reply = self._ask({"gold": with_words(right), "answer": with_words(answer)})
        return reply["equal"], reply["read"]

    def _same_lists(self, right: list[str], answer: list[str]) -> tuple[bool, bool]:
        """Whether each of the one is one of the other, in any order; in this one, where only the right ones have names."""
        if len(right) != len(answer):
            return False, True
        if assigned_in_order(right, answer):
            return all(self._compare(*pair)[0] for pair in zip(right, answer, strict=True)), True
        left = list(answer)
        for one in right:
            match = next((other for other in left if one == other or self._compare(one, other)[0]), None)
            if match is None:
                return False, True
            left.remove(match)
        return True, True

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


def to_be_worked_out(right: str, answer: str) -> bool:
    """Whether `right` is a number, with or without a unit, and `answer` a calculation; to a whole number also a fraction is one."""
    number = quantity(right)
    if number is None or not is_number(number):
        return False
    if number[0].places == 0 and not number[0].percent and _QUOTIENT.search(answer):
        return True
    return quantity(answer) is None and bool(_WORK.search(_NOT_WORK.sub(" ", answer)))


def _known(right: str, answer: str) -> bool | None:
    """What is known without symbolic mathematics."""
    one, other = quantity(right), quantity(answer)
    if one is not None and other is not None:
        return same(one, other)
    if ratio(right) and ratio(answer):
        return ratio(right) == ratio(answer)
    return same_words(right, answer)


def _without_unit(text: str) -> tuple[str, Unit]:
    """A formula, and the unit behind it: in \\text{}, or in words that are units of measure."""
    found, plain_words = _TRAILING_UNIT.search(text), False
    if found is None:
        found, plain_words = _PLAIN_UNIT.search(text), True
    if found is None or not found.start() or quantity(f"1{found[0]}") is None:
        return text, ()
    names = unit_of(found[0], 0)[0].names
    return (text, ()) if plain_words and not all_measures(names) else (text[: found.start()], names)


def _listed(text: str) -> list[str]:
    """What commas, semicolons, `and` and `or` part outside of brackets."""
    parts, depth, start = [], 0, 0
    for token in _LISTED.finditer(text):
        depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
        if token["separator"] and depth == 0:
            parts.append(text[start : token.start()])
            start = token.end()
    return [part for part in map(str.strip, [*parts, text[start:]]) if part]


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
