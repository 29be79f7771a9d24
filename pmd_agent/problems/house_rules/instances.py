"""The instances of the conventions: what a task asks to be written, drawn from a generator."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from pmd_agent.problems.house_rules.conventions import Values

MONTHS = "January February March April May June July August September October November December".split()
FIRST = "Anna Boris Clara David Emma Frank Grace Hugo Irene Jack Karen Louis".split()
FAMILY = "Stone Miller Reed Baker Fox Lake Hunter Porter Brooks Carter Wells Hayes".split()
THINGS = "paper chalk soap tape tea coffee sugar rope paint glue salt rice".split()
LEVELS = {"urgent": 1, "normal": 2, "low": 3}
STATES = ("done", "failed", "waiting")


def date(rng: random.Random) -> Values:
    d, m, y = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2001, 2029)
    return {"d": d, "m": m, "y": y, "month": MONTHS[m - 1]}


def time(rng: random.Random) -> Values:
    h, minutes, evening = rng.randint(5, 11), rng.randint(10, 59), rng.random() < 0.5
    part, mark = ("evening", "PM") if evening else ("morning", "AM")
    return {"h": h, "H": h + 12 * evening, "min": minutes, "part": part, "mark": mark}


def person(rng: random.Random) -> Values:
    f, family = rng.choice(FIRST), rng.choice(FAMILY)
    return {"f": f, "l": family, "login": f"{f}.{family}".lower(), "F": f.upper(), "L": family.upper()}


def level(rng: random.Random) -> Values:
    level = rng.choice(list(LEVELS))
    return {"n": rng.randint(100, 9999), "level": level, "LEVEL": level.upper(), "k": LEVELS[level]}


def status(rng: random.Random) -> Values:
    state = rng.choice(STATES)
    return {"n": rng.randint(100, 999), "state": state, "STATE": state.upper()}


def guests(rng: random.Random) -> Values:
    a, b = rng.sample(FIRST, 2)
    return {"a": a, "b": b}


def pages(rng: random.Random) -> Values:
    a = rng.randint(2, 180)
    return {"a": a, "b": a + rng.randint(2, 19)}


def order(rng: random.Random) -> Values:
    return {"n": rng.randint(2, 60), "thing": rng.choice(THINGS)}


def numbers(**bounds: tuple[int, int]) -> Callable[[random.Random], Values]:
    def draw(rng: random.Random) -> dict[str, Any]:
        return {name: rng.randint(*bound) for name, bound in bounds.items()}

    return draw
