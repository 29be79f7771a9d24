"""What the interpreter does before and after a program, done by hand: here it runs already, and is shared with the next.

A program is to find what `python program.py < input` would have it find, and all that it has printed is to arrive. Python's
own end would do the latter, but takes apart every module, which in a fork costs ten times what a small program does.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import gc
import io
import os
import signal
import sys
from typing import Any

_DEEPEST = 50_000
"""Levels of recursion for a program that sets no limit. More than Python's 1,000, as where contest problems come from."""
_MODULES = "bisect collections copy datetime functools heapq itertools json math operator random re string sys typing"
_STARRED = "typing collections itertools functools heapq bisect math"
_MOST_LEVELS = (1 << 31) - 1
_before: set[str] = set()
"""Modules that were there before the first program."""
_NOT_WRITTEN = 120
"""Python's exit status where what was printed cannot be written."""
_FLAGS_AS_USUAL = {"no_site": 0, "hash_randomization": 1}
"""The server is started without site-packages and with one seed for all; a program is not to see that."""


def prepare() -> None:
    """Once, before the first program: what all of them have in common."""
    import site

    site.setquit()
    site.setcopyright()
    site.sethelper()
    vars(builtins).update(_names())
    for flag, value in _FLAGS_AS_USUAL.items():
        _set_flag(flag, value)
    os.environ.clear()
    os.environ.update(PATH="/usr/local/bin:/usr/bin:/bin", LANG="C.UTF-8", USER="user", LOGNAME="user")
    _before.update(sys.modules)
    gc.collect()
    gc.freeze()  # no program's garbage: `end` looks through what is new


def begin(file: str = "") -> str:
    """For a new program, whose working directory this is, and returned; `file` is its name."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    here = os.getcwd()
    os.environ["HOME"] = here
    if here != "/tmp":
        os.environ["TMPDIR"] = here
    sys.argv[:] = [file]
    sys.orig_argv[:] = [sys.executable, file]
    sys.path.insert(0, here)
    _limit_recursion()
    # The old ones have looked at what was on these descriptors when the server was started.
    streams = {
        "stdin": (0, "r", sys.stdin.errors),
        "stdout": (1, "w", sys.stdout.errors),
        "stderr": (2, "w", "backslashreplace"),
    }
    for name, how in streams.items():
        vars(sys)[name] = vars(sys)[f"__{name}__"] = _stream(*how)
    return here


def end(status: int, module: str, folder: str) -> int:
    """As Python ends: threads, exit functions, then all that is left, so that files are closed. The exit status.

    `module`: the program, and `folder` where others of its own may lie. Whoever calls holds no reference to any of them.
    """
    with contextlib.suppress(BaseException):
        if "threading" in sys.modules:
            getattr(sys.modules["threading"], "_shutdown")()  # noqa: B009 (private, and the only way)
        getattr(atexit, "_run_exitfuncs")()  # noqa: B009
    written = _flushed()
    _flush_files()
    for name in [module, *_own_modules(folder)]:
        sys.modules.pop(name, None)
    gc.collect()  # what has a __del__ may print
    _flush_files()
    return status if _flushed() and written else status or _NOT_WRITTEN


def status_of(leaving: SystemExit) -> int:
    """The exit status; a text is printed, as Python does."""
    code = leaving.code
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{code}\n")
    return 1


def _names() -> dict[str, Any]:
    """What a solution may use without importing it, as on the sites that these problems come from.

    Built-in names, so that a program's own globals are as it has made them.
    """
    found: dict[str, Any] = {}
    for name in _STARRED.split():
        module = __import__(name)
        found |= {n: getattr(module, n) for n in getattr(module, "__all__", dir(module)) if not n.startswith("_")}
    found |= {name: __import__(name) for name in _MODULES.split()}
    return {name: value for name, value in found.items() if not hasattr(builtins, name)}


def _set_flag(name: str, value: int) -> None:
    """sys.flags is read-only to Python."""
    place = type(sys.flags).__match_args__.index(name)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))  # the next call takes one reference
    ctypes.pythonapi.PyStructSequence_SetItem(
        ctypes.py_object(sys.flags), ctypes.c_ssize_t(place), ctypes.py_object(value)
    )


def _limit_recursion() -> None:
    """A program's own limit is counted from its first frame, not from this package's below it."""
    really_set, told = sys.setrecursionlimit, sys.getrecursionlimit()
    # From its frame on: `play`, whoever runs the program, and in 3.11 `exec`.
    below, frame = 3 if sys.version_info < (3, 12) else 2, sys._getframe(2)
    while frame.f_back:
        below, frame = below + 1, frame.f_back
    really_set(_DEEPEST)

    def setrecursionlimit(limit: int, /) -> None:
        nonlocal told
        if not isinstance(limit, int) or not 1 <= limit <= _MOST_LEVELS:
            really_set(limit)  # which says what is wrong
        really_set(min(limit, _MOST_LEVELS - below) + below)
        told = limit

    def getrecursionlimit() -> int:
        return told

    sys.setrecursionlimit, sys.getrecursionlimit = setrecursionlimit, getrecursionlimit


def _stream(number: int, mode: str, errors: str | None) -> io.TextIOWrapper:
    """As Python makes sys.stdin, sys.stdout and sys.stderr."""
    buffer = open(number, f"{mode}b", closefd=False)  # noqa: SIM115
    name = ("<stdin>", "<stdout>", "<stderr>")[number]
    buffer.raw.name = name  # type: ignore[attr-defined]
    stream = io.TextIOWrapper(buffer, sys.stdin.encoding, errors, newline="\n", line_buffering=number == 2)
    stream.mode = mode  # type: ignore[misc]
    return stream


def _own_modules(folder: str) -> list[str]:
    """Modules that the program has written itself."""
    new = [name for name in sys.modules if name not in _before]
    return [name for name in new if _within(folder, getattr(sys.modules[name], "__file__", None))]


def _within(folder: str, path: object) -> bool:
    return isinstance(path, str) and path.startswith(folder + os.sep)


def _flush_files() -> None:
    """Of all that is still held by something; text before the bytes below it."""
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    # By their types: to ask an object itself may run code of the program's, or fail (a proxy of what is gone).
    found: list[Any] = [o for o in gc.get_objects() if issubclass(type(o), kinds)]
    for file in sorted(found, key=lambda file: not issubclass(type(file), io.TextIOWrapper)):
        with contextlib.suppress(OSError, ValueError):
            file.flush()


def _flushed() -> bool:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException:
            return False
    return True
