"""A value that a program has sent, as Python would write it: for feedback, so no longer than can be read.

Like the comparison it builds nothing: sets and dicts of a program's own choosing can take a reader's time without end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pmd_agent.verifiers.code.compare import number

_AROUND = {"tuple": ("(", ")"), "set": ("{", "}"), "frozenset": ("frozenset({", "})"), "complex": ("complex(", ")")}
_DEEPEST = 20
_DIGITS = 1000
"""Of an integer, hexadecimal: more are not turned into decimals, which takes long and nobody would read."""
_UNREADABLE = "<nothing that can be read>"


def shown(data: Any, most: int) -> str:
    """`data` is as `encode` writes it, or anything else that is JSON. `most`: characters, about."""
    found = ""
    for piece in _pieces(data, most, 0):
        found += piece
        if len(found) > most:
            return found[:most] + " ..."
    return found


def _pieces(data: Any, most: int, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        yield "..."
    elif isinstance(data, list):
        yield from _row(data, ("[", "]"), most, depth)
    elif isinstance(data, str):
        yield repr(data[: most + 1])
    elif not isinstance(data, dict):
        yield repr(data)
    else:
        kind, content = data.get("is"), data.get("of")
        if isinstance(content, list):
            yield from _many(kind, content, most, depth)
        else:
            yield _one(kind, content, most) if isinstance(content, str) else _UNREADABLE


def _one(kind: Any, content: str, most: int) -> str:
    if kind == "bytes":
        return f"bytes.fromhex({content[: most + 1]!r})"
    if kind == "type":
        return content[:most] if content.isidentifier() else _UNREADABLE
    if kind == "int" and len(content) > _DIGITS:
        return "<a number of very many digits>"
    value = number({"is": kind, "of": content})
    return _UNREADABLE if isinstance(value, dict) else repr(value)


def _many(kind: Any, content: list[Any], most: int, depth: int) -> Iterator[str]:
    if kind == "dict":
        yield "{"
        for place, pair in enumerate(content):
            yield ", " if place else ""
            if not isinstance(pair, list) or len(pair) != 2:
                yield _UNREADABLE
                continue
            yield from _pieces(pair[0], most, depth + 1)
            yield ": "
            yield from _pieces(pair[1], most, depth + 1)
        yield "}"
    elif kind == "opaque":
        yield f"<a value of type {str(content[-1])[:50] if content else '?'}, which is no plain value>"
    elif kind == "set" and not content:
        yield "set()"
    elif isinstance(kind, str) and kind in _AROUND:
        yield from _row(content, _AROUND[kind], most, depth)
    else:
        yield _UNREADABLE


def _row(items: list[Any], around: tuple[str, str], most: int, depth: int) -> Iterator[str]:
    yield around[0]
    for place, item in enumerate(items):
        yield ", " if place else ""
        yield from _pieces(item, most, depth + 1)
    yield "," if len(items) == 1 and around[0] == "(" else ""
    yield around[1]
