r"""What stands behind a number: `\text{ cm}^2`, `^\circ`, `dollars per hour`, `million`.

Units of measure are known by their names and signs, other words by themselves, in singular. `unit`, and small words, mean nothing.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

Unit = tuple[str, ...]
"""Canonical names with their powers, sorted; empty: none is given."""

_SIGNS = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
    "ft": "foot feet", "in": "inch inches", "yd": "yard", "mi": "mile", "mg": "milligram", "g": "gram",
    "kg": "kilogram", "t": "tonne ton", "oz": "ounce", "lb": "pound lbs", "ms": "millisecond", "s": "second sec",
    "min": "minute", "h": "hour hr", "day": "", "week": "wk", "month": "", "year": "yr", "l": "liter litre L",
    "ml": "milliliter millilitre mL", "gal": "gallon", "degree": "deg", "celsius": "C", "fahrenheit": "F",
    "kelvin": "K", "radian": "rad", "dollar": "usd USD buck", "cent": "", "am": "AM", "pm": "PM", "newton": "N",
    "joule": "J", "watt": "W", "volt": "V", "pascal": "Pa", "hz": "Hz hertz", "mol": "mole", "acre": "",
    "hectare": "ha", "euro": "EUR", "yen": "JPY", "rupee": "INR", "'": "", "''": "",
}  # fmt: skip
_NAMES = {name: sign for sign, names in _SIGNS.items() for name in (sign, *names.split())}
_TOGETHER = {
    "mph": ("mi", "h^-1"),
    "kph": ("km", "h^-1"),
    "kmh": ("km", "h^-1"),
    "kmph": ("km", "h^-1"),
    "sqft": ("ft^2",),
}
_TIMES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_SILENT = {"a", "an", "the", "of", "unit", "th", "st", "nd", "rd", "total", "whole", "about", "each"}
_KNOWN = {*_NAMES, *_TOGETHER, *_TIMES, *_POWERS, *_SILENT}
_ONE_LETTER = "mgshLCFK"
_NOT_UNITS = {
    "and", "or", "if", "when", "where", "is", "are", "not", "but", "than", "to", "plus", "minus", "times", "half",
    "quarter", "third", "squared", "cubed", "factorial", "over", "divided", "by", "mod", "from", "with", "for", "as",
    "between", "through", "less", "more", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
    "nine", "ten", "infinity", "base", "choose", "percent",
}  # fmt: skip
_TOKEN = re.compile(
    r"\s{0,2}(?:\\text\{(?P<text>[^{}]*)\}|\^\s?(?:\{\s?(?P<circ>\\circ)\s?\}|(?P<circ2>\\circ))"
    r"|\^\s?(?:\{\s?(?P<power>-?\d)\s?\}|(?P<power2>-?\d))|\^\s?\{?\\text\{\s?(?:th|st|nd|rd)\s?\}\}?|(?P<slash>/)|\\cdot"
    r"|(?P<marks>''?|\")|(?P<word>[A-Za-z]+)\.?)"
)
_INNER = re.compile(r"[A-Za-z]+|/|[²³]|\^\s?\{?-?\d\}?|''?")
_MOST_WORDS = 6


class Tail(NamedTuple):
    """What the unit comes to."""

    names: Unit
    times: Fraction = Fraction(1)
    """1,000,000 for `million`."""


def unit_of(text: str, at: int) -> tuple[Tail, int]:
    """The unit that begins at `at`, and where it ends: at `at` where there is none."""
    tokens: list[str] = []
    end = at
    while len(tokens) < 2 * _MOST_WORDS:
        found = _TOKEN.match(text, end)
        if found is None or not _takes(found, text, tokens):
            break
        tokens += _tokens(found)
        end = found.end()
    return (_tail(tokens), end) if end > at else (Tail(()), at)


def contradict(right: Unit, given: Unit) -> bool:
    """Whether both are given, and differ in a measure, or neither says what the other says and more."""
    if not right or not given or right == given:
        return False
    one, other = set(right), set(given)
    return any(_is_measure(name) for name in one ^ other) or not (one < other or other < one)


def all_measures(unit: Unit) -> bool:
    """Whether every name in it is a unit of measure; so it is where there is none."""
    return all(_is_measure(name) for name in unit)


def _takes(found: re.Match[str], text: str, before: list[str]) -> bool:
    """Whether a token can be of a unit: a bare word must be one that is known, or look like a word, not like variables."""
    if found["text"] is not None:
        return not any(_lower(word) in _NOT_UNITS for word in re.findall("[A-Za-z]+", found["text"]))
    if found["slash"]:
        return bool(before)
    if found["power"] or found["power2"]:
        return bool(before)
    word = found["word"]
    return word is None or _is_unit_word(word, found, text, before)


def _is_unit_word(word: str, found: re.Match[str], text: str, before: list[str]) -> bool:
    lower = _lower(word)
    if lower in _NOT_UNITS or text[found.end() : found.end() + 1] in ("(", "_", "="):
        return False
    if len(word) == 1:
        return (found[0][0].isspace() and (word in _ONE_LETTER or (word == "a" and bool(before)))) or before[-1:] == [
            "/"
        ]
    if word in _NAMES or lower in _KNOWN or _singular(lower) in _KNOWN:
        return True
    return len(word) > 2 and bool(set("aeiouy") & set(lower))


def _tokens(found: re.Match[str]) -> list[str]:
    if found["text"] is not None:
        return _INNER.findall(found["text"].replace(".", ""))
    if found["circ"] or found["circ2"]:
        return ["degree"]
    power = found["power"] or found["power2"]
    if power:
        return ["^" + power]
    return [found["word"] or found["marks"] or ("/" if found["slash"] else "")]


def _tail(tokens: list[str]) -> Tail:
    names: list[str] = []
    times, power, under = Fraction(1), "", ""
    for token in filter(None, tokens):
        lower = _lower(token)
        if lower in ("/", "per") or (names and lower in ("a", "an")):
            under = "^-1"
        elif lower in _TIMES or _singular(lower) in _TIMES:
            times *= 0 if names else _TIMES[lower if lower in _TIMES else _singular(lower)]
        elif lower in _POWERS:
            power = f"^{_POWERS[lower]}"
        elif token[0] in "^²³" or lower in ("squared", "cubed"):
            exponent = {"²": "2", "³": "3", "squared": "2", "cubed": "3"}.get(lower, token.strip("^{} "))
            names[-1:] = [f"{names[-1]}^{exponent}"] if names else []
        elif lower in _TOGETHER:
            names += _TOGETHER[lower]
        elif lower not in _SILENT and _singular(lower) not in _SILENT:
            names.append(_name(token) + power + under)
            power, under = "", ""
    return Tail(tuple(sorted(set(names))), times or Fraction(1))


def _name(token: str) -> str:
    lower = _lower(token)
    for name in (token, lower, _singular(lower)):
        if name in _NAMES:
            return _NAMES[name]
    return _singular(lower)


def _is_measure(name: str) -> bool:
    return name.partition("^")[0] in _SIGNS


def _lower(word: str) -> str:
    return word.casefold()


def _singular(word: str) -> str:
    if word.endswith(("xes", "ches", "shes", "sses", "zes")):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word
