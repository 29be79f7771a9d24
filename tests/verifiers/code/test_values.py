from __future__ import annotations

import collections
import enum
import json
import math
import re
from typing import Any

import pytest

from pmd_agent.verifiers.code.jail.values import NotPlain, decode, encode


class Size(enum.IntEnum):
    SMALL = 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(1 << 61), 1 << 4000, 1.5, math.inf, "é", b"\x00\xff", 1 + 2j, [], [1, [2]], (), (1, (2,)), {1, 2},
     frozenset([1]), {}, {1: 2, (3, 4): [5], "is": "of"}, {"is": "int", "of": "x"}, int, [ValueError, str]],
)  # fmt: skip
def test_there_and_back(value: Any) -> None:
    there = json.loads(json.dumps(encode(value)))
    back = decode(there)
    assert back == value and type(back) is type(value)


def test_subclasses_become_what_they_are_a_kind_of() -> None:
    values = [
        Size.SMALL,
        Point(1, 2),
        collections.Counter("aa"),
        collections.OrderedDict(a=1),
        collections.defaultdict(int),
    ]
    assert [type(decode(encode(v))) for v in values] == [int, tuple, dict, dict, dict]
    assert math.isnan(decode(encode(math.nan)))


@pytest.mark.parametrize(
    "value",
    [object(), len, range(3), (i for i in []), collections.deque(), [object()], {1: object()}, Point, type(Size)],
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(NotPlain, match="of type"):
        encode(value)


def test_of_other_values_it_is_known_whether_they_are_true() -> None:
    match = re.match("a", "a")
    back = decode(json.loads(json.dumps(encode([match, collections.deque(), {1: match}], opaque=True))))
    assert back[0] and not back[1] and back[2][1] and repr(back[0]) == "<a value of type Match>"
    assert back[0] != match and back[0] != back[2][1] and back[0] not in ([], 1, True, None, "")
    assert encode(back) == encode([match, collections.deque(), {1: match}], opaque=True), "and they can be sent on"


@pytest.mark.parametrize(
    "data",
    [{}, {"is": "opaque", "of": [1]}, {"is": "type", "of": "eval"}, {"is": "type", "of": "Nothing"}, {"is": "type", "of": [1]}, {"is": "int"}, {"is": "object", "of": []}, {"is": "int", "of": 3}, {"is": "set", "of": [[1]]}, {"is": "dict", "of": [1]},
     {"is": [], "of": []}, {"is": "bytes", "of": "x"}, {"is": "complex", "of": [1, 2, 3]}, {"is": "tuple", "of": None}],
)  # fmt: skip
def test_what_cannot_have_been_written_is_refused(data: Any) -> None:
    with pytest.raises(NotPlain):
        decode(data)


def test_depth_is_bounded() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(NotPlain, match="nested"):
        encode(deep)
    with pytest.raises(NotPlain):
        decode(deep)
