"""Runs a program that is a function, in the process that is its own. Whatever it does here, it does to itself.

What it is compared with is not in this process, nor in any that it can reach: it gets inputs and gives outputs.
"""

from __future__ import annotations

import builtins
import json
import linecache
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from .python import begin, end, status_of
from .values import NotPlain, decode, encode
from .wire import Gone, Wire

FILE = "<your program>"
CHECK = "<the tests>"
MOST = 1 << 22
"""Bytes of what a call returns, as JSON."""
_TAIL = 2000
"""Characters of a traceback that are kept."""


def play_call(program: dict[str, Any], told: dict[str, Any]) -> int:
    """One test of one function; the exit status. The answer goes to descriptor 3."""
    here = begin()
    module = _module("solution")
    status = 0
    try:
        _execute(program["source"], FILE, module)
        reply = _answer(_finder(module, program["entry"]), told)
        os.write(3, json.dumps(reply).encode())
    except SystemExit as leaving:
        status = status_of(leaving)
    except BaseException as error:
        status = 1
        os.write(2, tail_of(error, FILE).encode("utf-8", "replace"))
    del module
    return end(status, "solution", here)


def answer_calls(source: str, before: str, entry: str, wire: Wire) -> int:
    """Loads the program, then answers one call after another until the other side hangs up.

    `before`: code that the program continues, such as imports and helpers of a prompt.
    """
    begin()
    module = _module("solution")
    try:
        if before:
            _execute(before, "<the prompt>", module)
        _execute(source, FILE, module)
        find = _finder(module, entry)
    except BaseException as error:
        wire.send({"error": type(error).__name__, "trace": tail_of(error, FILE)})
        return 0
    wire.send({"loaded": True})
    while True:
        try:
            message = wire.receive()
        except Gone:
            return 0
        wire.send(_answer(find, message))


def check(prompt: str, test: str, entry: str, wire: Wire) -> int:
    """Runs `check(candidate)` of the tests: each call of the candidate goes over the wire to where the program is."""
    begin()
    module = _module("tests")
    calls = 0

    def candidate(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        wire.send({"args": encode(list(args)), "kwargs": encode(kwargs)})
        reply = wire.receive()
        if "value" in reply:
            try:
                return decode(reply["value"])
            except NotPlain as error:
                reply = {"trace": f"The function returned {error}."}
        raise _as_error(reply)

    try:
        _execute(prompt, "<the prompt>", module)
        vars(module)[entry] = candidate
        _execute(test, CHECK, module)
        judge = vars(module)["check"]
        if entry == "check":  # a function of this very name, which the tests call within their own
            vars(module)[entry] = candidate
        judge(candidate)
    except BaseException as error:
        wire.send({"passed": False, "calls": calls, "error": type(error).__name__, "trace": tail_of(error, CHECK)})
    else:
        wire.send({"passed": True, "calls": calls})
    return 0


def tail_of(error: BaseException, file: str) -> str:
    """The end of the traceback, from the first frame in `file` on."""
    try:
        trace: TracebackType | None = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != file:
            trace = trace.tb_next
        lines = traceback.format_exception(type(error), error, trace, limit=-6)
        return "".join(lines)[-_TAIL:].strip()
    except BaseException as second:  # a program's own exception may raise when it is looked at
        return f"{type(error).__name__} (its traceback raises {type(second).__name__})"


def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    return module


def _execute(source: str, file: str, module: ModuleType) -> None:
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec", dont_inherit=True), vars(module))


def _finder(module: ModuleType, entry: str) -> Callable[[], Callable[..., Any]]:
    """What gives the function of one call: a method of a new Solution each time, or the module's own."""
    solution = vars(module).get("Solution")
    if hasattr(solution, entry):
        return lambda: getattr(solution(), entry)  # type: ignore[misc]
    function = vars(module).get(entry)
    if not callable(function):
        raise NameError(f"the program defines no {entry}")
    return lambda: function


def _answer(find: Callable[[], Callable[..., Any]], message: dict[str, Any]) -> dict[str, Any]:
    try:
        value = find()(*decode(message["args"]), **decode(message["kwargs"]))
        reply = {"value": encode(value, opaque=True)}
        if len(json.dumps(reply)) > MOST:
            raise NotPlain(f"a value of more than {MOST} bytes")
        return reply
    except NotPlain as error:
        # No built-in error's name: tests may expect one of those.
        return {"error": "NotPlain", "trace": f"The function returned {error}: return plain values."}
    except BaseException as error:
        return {"error": type(error).__name__, "trace": tail_of(error, FILE)}


def _as_error(reply: dict[str, Any]) -> BaseException:
    """The program's own error: tests may expect one of its kind."""
    kind = getattr(builtins, str(reply.get("error")), None)
    # These would end a loop of the tests (`all(map(...))`) as if all were well.
    ending = (StopIteration, StopAsyncIteration)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, ending):
        try:
            return kind(str(reply.get("trace")))
        except TypeError:  # UnicodeDecodeError and its kin want more than a message
            pass
    return RuntimeError(str(reply.get("trace")))
