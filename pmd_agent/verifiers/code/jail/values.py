"""Plain values as JSON and back: what a call takes and what it gives.

JSON alone would make a tuple a list and every key a string. Here null, true, false, numbers, strings and lists are
themselves, and everything else is {"is": what, "of": content}. Reading never builds anything but these types, so what
arrives from a program is compared by the built-in equality, whatever the program has done to its own classes.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

DEEPEST = 200
"""Levels of nesting; more is refused on both sides."""


class NotPlain(Exception):
    """A value of another kind; the message says which."""


class Opaque:
    """In the place of a value of another kind, of which no more is known than whether it is true, and the type's name.

    It is equal to nothing but itself. A program that says something untrue of its value gains no more than by another value.
    """

    def __init__(self, true: bool, kind: str) -> None:
        self.true, self.kind = true, kind

    def __bool__(self) -> bool:
        return self.true

    def __repr__(self) -> str:
        return f"<a value of type {self.kind}>"


def encode(value: Any, depth: int = 0, *, opaque: bool = False) -> Any:
    """The value as JSON. A subclass (a Counter, a named tuple) becomes what it is a kind of.

    `opaque`: a value of another kind becomes an Opaque, else it raises NotPlain; so does one that is nested too deep.
    """
    if depth > DEEPEST:
        raise NotPlain(f"a value nested more than {DEEPEST} levels deep")
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        number = int(value)
        return number if abs(number) < 1 << 62 else {"is": "int", "of": hex(number)}
    if isinstance(value, float):
        real = float(value)
        return real if math.isfinite(real) else {"is": "float", "of": repr(real)}
    if isinstance(value, complex):
        return {"is": "complex", "of": [encode(value.real), encode(value.imag)]}
    if isinstance(value, bytes):
        return {"is": "bytes", "of": value.hex()}
    if isinstance(value, type) and vars(builtins).get(name := value.__name__) is value:
        return {"is": "type", "of": name}
    if isinstance(value, Opaque):
        return {"is": "opaque", "of": [value.true, value.kind]}

    def inner(item: Any) -> Any:
        return encode(item, depth + 1, opaque=opaque)

    if isinstance(value, list):
        return [inner(item) for item in value]
    if isinstance(value, dict):
        return {"is": "dict", "of": [[inner(key), inner(item)] for key, item in value.items()]}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {"is": kind.__name__, "of": [inner(item) for item in value]}
    if opaque:
        return {"is": "opaque", "of": [bool(value), type(value).__name__]}
    raise NotPlain(f"a value of type {type(value).__name__}")


def decode(data: Any) -> Any:
    """The value that `encode` was given. Raises NotPlain for anything that it cannot have written."""
    try:
        return _decode(data, 0)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise NotPlain(f"a value that cannot be read ({type(error).__name__})") from None


def _decode(data: Any, depth: int) -> Any:
    if depth > DEEPEST + 1:
        raise ValueError("too deep")
    if isinstance(data, list):
        return [_decode(item, depth + 1) for item in data]
    if not isinstance(data, dict):
        return data
    kind, content = data["is"], data["of"]
    if kind == "dict":
        return {_decode(k, depth + 1): _decode(v, depth + 1) for k, v in content}
    if kind == "int":
        return int(content, 16)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "float":
        return float(content)
    if kind == "type":
        return _built_in(content)
    items = [_decode(item, depth + 1) for item in content]
    if kind == "complex":
        return complex(*items)
    if kind == "opaque":
        true, name = items
        return Opaque(true is True, str(name))
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)


def _built_in(name: Any) -> type:
    found = vars(builtins)[name]
    if not isinstance(found, type):
        raise ValueError("no type")
    return found
