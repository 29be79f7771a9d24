"""What a failed attempt is told. Only training tests are quoted; of a hidden one only how it failed is said."""

from __future__ import annotations

_QUOTED = 400
"""Characters of an input or an output."""
_LAST = 600
"""Characters of a traceback, from its end."""

NO_PROGRAM = "No complete ```python block was found: put the whole program into one, and close it with ```."


def failed_output(which: str, given: str, expected: str, got: str) -> str:
    """A wrong result on a test that may be shown."""
    return f"{which} failed.\n{_named('Input', given)}\n{_named('Expected', expected)}\n{_named('Got', got)}"


def failed_run(which: str, given: str, how: str) -> str:
    """A test that may be shown, and that the program did not survive."""
    return f"{which} failed: {how}\n{_named('Input', given)}"


def hidden(how: str) -> str:
    """A test that may not be shown. Of an error not even the message, which may hold the input."""
    return f"A hidden test failed: {how.splitlines()[0]}"


def raised(trace: str) -> str:
    """The end of a traceback."""
    trace = trace.strip()
    return "the program raised an error\n" + (trace if len(trace) <= _LAST else "..." + trace[-_LAST:])


def timed_out(seconds: float) -> str:
    """Of processor time or of the clock."""
    return f"timed out (more than {seconds:g} s)"


def out_of_time(status: int, used: float, limit: float) -> bool:
    """Whether a process ended because its processor time was up: by SIGXCPU, or where it ignored that, by SIGKILL."""
    return status == -24 or (status == -9 and used >= 0.9 * limit)


def ended(status: int) -> str:
    """A process that ended without saying why."""
    if status < 0:
        return f"the program was ended by signal {-status} (out of memory or stack, or a crash)"
    return f"the program ended with exit status {status}"


def trimmed(text: str, most: int = _QUOTED) -> str:
    """Head and tail kept."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... ({len(text) - 2 * half} characters left out) ... {text[-half:]}"


def _named(name: str, text: str) -> str:
    text = trimmed(text.strip("\n"))
    return f"{name}:\n{text}" if text else f"{name}: (nothing)"
