"""What a failed attempt is told. Only training tests are quoted; of a hidden one only how it failed is said."""

from __future__ import annotations

from dataclasses import dataclass

_QUOTED = 400
"""Characters of an input or an output."""
_LAST = 600
"""Characters of a traceback, from its end."""
_LONGEST = 4000
"""Characters of what a program sends as a text, from its end."""

WRONG, ERROR, LATE = "wrong result", "the program raised an error", "timed out"
"""All that is said of a hidden test."""
NO_PROGRAM = "No complete ```python block was found: put the whole program into one, and close it with ```."


@dataclass(frozen=True, slots=True)
class Failure:
    """Of one test."""

    kind: str
    """WRONG, ERROR or LATE."""
    how: str
    """In a line or with the end of a traceback."""
    got: str | None = None
    """The wrong result, where there is one."""


def failed_output(which: str, given: str, expected: str, got: str) -> str:
    """A wrong result on a test that may be shown."""
    return f"{which} failed.\n{_named('Input', given)}\n{_named('Expected', expected)}\n{_named('Got', got)}"


def failed_run(which: str, given: str, how: str) -> str:
    """A test that may be shown, and that the program did not survive."""
    return f"{which} failed: {how}\n{_named('Input', given)}"


def hidden(kind: str) -> str:
    """A test that may not be shown: one of three texts, for what a program may choose to say could hold the test."""
    return f"A hidden test failed: {kind}"


def raised(trace: str) -> str:
    """The end of a traceback."""
    trace = trace.strip()
    return "the program raised an error\n" + (trace if len(trace) <= _LAST else "..." + trace[-_LAST:])


def timed_out(seconds: float) -> Failure:
    """Of processor time or of the clock."""
    return Failure(LATE, f"timed out (more than {seconds:g} s)")


def ended(status: int, seconds: float, limit: float) -> Failure:
    """A process that ended without saying why, after `seconds` of processor time."""
    # By SIGXCPU, or where it ignored that, by SIGKILL.
    if status == -24 or (status == -9 and seconds >= 0.9 * limit):
        return timed_out(limit)
    if status < 0:
        return Failure(ERROR, f"the program was ended by signal {-status} (out of memory or stack, or a crash)")
    return Failure(ERROR, f"the program ended with exit status {status}")


def text_of(value: object) -> str:
    """What a program calls a text, which may be anything, and of any length."""
    return value[-_LONGEST:] if isinstance(value, str) else ""


def trimmed(text: str, most: int = _QUOTED) -> str:
    """Head and tail kept."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... ({len(text) - 2 * half} characters left out) ... {text[-half:]}"


def _named(name: str, text: str) -> str:
    text = trimmed(text.strip("\n"))
    return f"{name}:\n{text}" if text else f"{name}: (nothing)"
