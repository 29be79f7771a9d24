"""The tests of a programming problem: read out of LiveCodeBench's fields without running anything, and kept small.

Its private tests are a JSON list, or base64 of zlib of a *pickle* of such a list's text. A pickle is a program, so it is not
unpickled: its instructions are listed, and only those that make up one plain string are let through.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from pmd_agent.problems.parse_rows import BadRow, check_text
from pmd_agent.problems.sources import describe_type

LARGEST = 1 << 28
"""Bytes of private tests after decompression; more is refused."""
_STRINGS = frozenset(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"))
_HARMLESS = frozenset(("PROTO", "FRAME", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "STOP"))

Test = Mapping[str, Any]


class Tests(Sequence[Test]):
    """Tests, compressed: a benchmark's are gigabytes, and each is looked at only while an answer to it is checked.

    A test has `input`, `output`, and `hidden`: whether a model must not be told of it.
    """

    __test__ = False  # pytest

    def __init__(self, tests: Sequence[Test], shown: frozenset[int] | None = None) -> None:
        """`shown`: the numbers of those that a model may be told of; None: all."""
        self._packed = zlib.compress(json.dumps([[t["input"], t["output"]] for t in tests]).encode(), 6)
        self._numbers = tuple(range(len(tests)))
        self._shown = frozenset(self._numbers) if shown is None else shown

    def half(self, key: str) -> Tests:
        """A random half of them, rounded up, in their order; the same for the same key. All of them are shown."""
        count = (len(self) + 1) // 2
        return self._with(sorted(random.Random(key).sample(self._numbers, count)), frozenset(self._numbers))

    def showing(self, shown: Tests) -> Tests:
        """The same tests, of which only those in `shown` may be told of."""
        return self._with(self._numbers, frozenset(shown._numbers))

    def _with(self, numbers: Sequence[int], shown: frozenset[int]) -> Tests:
        made = object.__new__(Tests)
        made._packed, made._numbers, made._shown = self._packed, tuple(numbers), shown
        return made

    def __iter__(self) -> Iterator[Test]:
        pairs = json.loads(zlib.decompress(self._packed))
        for number in self._numbers:
            given, expected = pairs[number]
            yield {"input": given, "output": expected, "hidden": number not in self._shown}

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Test: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Test]: ...
    def __getitem__(self, index: int | slice) -> Test | Sequence[Test]:
        return list(self)[index]

    def __repr__(self) -> str:
        return f"<{len(self)} tests, {len(self._shown & set(self._numbers))} of them shown>"


def read_tests(value: Any, field: str) -> list[Any]:
    """The list in a field with public or private tests. BadRow says what it is instead."""
    if value is None or value == "":
        return []
    if not isinstance(value, str):
        raise BadRow(f"{field!r} is {describe_type(value)} instead of a string")
    text = value if value.lstrip().startswith(("[", "{")) else _unpacked(value, field)
    try:
        tests = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"{field!r} holds no JSON: {error}") from None
    if not isinstance(tests, list):
        raise BadRow(f"{field!r} holds {describe_type(tests)} instead of a list of tests")
    return tests


def checked_test(test: Any, field: str, number: int) -> Test:
    """A test with its three texts. BadRow."""
    if not isinstance(test, dict):
        raise BadRow(f"test {number} of {field!r} is {describe_type(test)} instead of an object")
    for name in ("input", "output", "testtype"):
        if not isinstance(test.get(name), str):
            raise BadRow(f"{name!r} of test {number} of {field!r} is {describe_type(test.get(name))}, not a string")
        check_text(test[name], field)
    if test["testtype"] not in ("stdin", "functional"):
        raise BadRow(f"test {number} of {field!r} is of type {test['testtype']!r}: neither stdin nor functional")
    if test["testtype"] == "functional":
        try:
            for text in (*filter(str.strip, test["input"].split("\n")), test["output"]):
                json.loads(text)
        except (ValueError, RecursionError):
            raise BadRow(f"test {number} of {field!r} is functional, but not JSON: {text[:60]!r}") from None
    return test


def _unpacked(value: str, field: str) -> str:
    try:
        packed = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadRow(f"{field!r} is neither a JSON list nor base64") from None
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(packed, LARGEST + 1)
    except zlib.error as error:
        raise BadRow(f"{field!r} is not zlib inside of its base64: {error}") from None
    if len(data) > LARGEST:
        raise BadRow(f"{field!r} is larger than {LARGEST} bytes when decompressed")
    if not unpacking.eof:
        raise BadRow(f"{field!r} is cut off: its zlib data do not end")
    return _string_in(data, field)


def _string_in(data: bytes, field: str) -> str:
    """The string of a pickle that is nothing but a string."""
    found: list[object] = []
    try:
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name in _STRINGS:
                found.append(argument)
            elif instruction.name not in _HARMLESS:
                raise BadRow(f"{field!r} is a pickle of more than a string ({instruction.name}): refused, not run")
    except (ValueError, IndexError, OverflowError) as error:
        raise BadRow(f"{field!r} is no pickle: {error}") from None
    if len(found) != 1 or not isinstance(found[0], str):
        raise BadRow(f"{field!r} is a pickle of {len(found)} strings instead of one")
    return found[0]
