"""The first mutants that HumanEval's own tests let pass: for each an input that tells it from the solution, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any


@dataclass(frozen=True)
class Told:
    """One more assert tells it: HumanEval's tests are few."""

    arguments: tuple[Any, ...]
    right: Any
    """What the solution returns."""


@dataclass(frozen=True)
class Equivalent:
    """No input that the problem allows tells it."""

    why: str
    inputs: Callable[[], Iterator[tuple[Any, ...]]]
    """Small ones, all of them: the reason, tried."""


def _words() -> Iterator[tuple[Any, ...]]:
    texts = ["".join(letters) for size in range(6) for letters in product("ab", repeat=size)]
    return ((text, part) for text in texts for part in texts if len(part) <= 4)


def _numbers() -> Iterator[tuple[Any, ...]]:
    return ((list(numbers),) for size in range(4) for numbers in product(range(12), repeat=size))


SURVIVORS: dict[str, Told | Equivalent] = {
    "HumanEval/10": Told(("ab",), "aba"),  # the suffix is looked for in steps of two
    "HumanEval/18": Equivalent(
        "The loop goes on for more positions. A slice from there is shorter than a substring that is not empty, so never equal; for an "
        "empty substring both loops end at the same position, because its length, which is added instead of subtracted, is 0.",
        _words,
    ),
    "HumanEval/20": Told(([1.0, -1.0, 3.0, 3.5],), (3.0, 3.5)),  # the first distance is a sum
    "HumanEval/43": Told(([1, -1],), True),  # neighbours are passed over
    "HumanEval/116": Equivalent(
        "One more character of bin(x) is cut off. Of a positive number that is its leading 1, so every count is lower by one; of 0 it is "
        "its only digit, a 0. So what changes is that 0 ties with the numbers that have a single 1, and ties are ordered by value: 0 is "
        "first, as before. (The problem is about non-negative numbers; for all of them negative the counts do not change.)",
        _numbers,
    ),
    "HumanEval/124": Told(("06-00-2020",), False),  # June is taken for July
    "HumanEval/126": Told(([2, 1],), False),  # the first pair is passed over
    "HumanEval/127": Told(((0, 4), (0, 4)), "NO"),  # every number but 2 is prime at once
    "HumanEval/134": Told(("{",), False),  # the character behind z counts as a letter
    "HumanEval/163": Told((2, 7), [2, 4, 6]),  # one digit too many
}
