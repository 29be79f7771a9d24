r"""Numbers with their units, times of day and numerals with a base: read whole, compared exactly, without symbolic mathematics.

    -1.5   \frac{3}{4}   3/4   1\frac{1}{2}   0.1\overline{6}   3.2 \times 10^{-19}   5 \text{ million}   50\%
    5 \text{ cm}^2   90^\circ   3 \text{ feet } 4 \text{ inches}   2:30 \text{ pm}   1101_{2}

A unit that only one side names is overlooked, as teachers do; two different ones are two answers. So is a base.
The texts are those of `markup.plain`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from pmd_agent.verifiers.units import Unit, contradict, unit_of

_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_SIGNED = rf"\s?(?:[-+]\s?)?{_DECIMAL}\s?"
_NUMBER = re.compile(
    rf"(?P<sign>(?:[-+]\s?)?)\s?(?:"
    rf"(?:(?P<whole>\d+)\s?)?\\frac\{{(?P<top>{_SIGNED})\}}\{{(?P<bottom>{_SIGNED})\}}"
    rf"|(?P<full>\d+)\s(?P<over>\d+)\s?/\s?(?P<under>\d+)(?![\d.])"
    rf"|(?P<left>{_DECIMAL})\s?/\s?(?P<right>{_DECIMAL})"
    rf"|(?P<before>\d*)\.(?P<fixed>\d*)\\overline\{{(?P<again>\d+)\}}"
    rf"|(?P<decimal>{_DECIMAL})(?:\s?\\times\s?10\^\{{(?P<exponent>[-+]?\d+)\}})?"
    rf")(?P<percent>\s?\\?%|\s?\\text\{{\s?percent\s?\}}|\s?percent(?![A-Za-z]))?"
)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?(?![\d:.])")
_BASE = re.compile(
    r"\(?([0-9A-Za-z]+(?:\.[0-9A-Za-z]+)?)\)?(?:_\s?(?:\{\s?(\d{1,2})\s?\}|(\d{1,2})|(?:\{\s?)?\\text\{\s?([a-z]+)\s?\}(?:\s?\})?)"
    r"|\s?\(?\s?(?:\\text\{\s?\(?)?\s?(?:in\s)?base[\s-]?(?:\})?\s?(\d{1,2}|[a-z]+)\)?\s?\}?\)?)"
)
_RATIO = re.compile(rf"{_DECIMAL}(?:\s?:\s?{_DECIMAL}){{1,9}}")
_AND = re.compile(r"\s?(?:,|and(?![A-Za-z])|\\text\{\s?,?\s?and\s?\}|&)?\s?")
_BASES = {
    word: n for n, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}
_BASES |= {"binary": 2, "octal": 8, "decimal": 10, "hex": 16, "hexadecimal": 16, "sixteen": 16}
_FURTHEST = 5000
"""The largest exponent that is worked out."""
_PLACES = 6
"""From this many decimal places and digits on, a decimal stands for a fraction or root that it is the rounding of."""


@dataclass(frozen=True, slots=True)
class Part:
    """One number and its unit."""

    value: Fraction | tuple[str, ...]
    """Of a time of day or a numeral with a base: what must be the same."""
    unit: Unit = ()
    percent: bool = False
    places: int | None = None
    """Digits behind the point, of a decimal; None of a fraction."""


Quantity = tuple[Part, ...]
"""Several parts where the unit is given in several: 3 feet 4 inches."""


def quantity(text: str) -> Quantity | None:
    """All of the text as one; None where it is something else."""
    numeral = _numeral(text)
    if numeral is not None:
        return (numeral,)
    parts: list[Part] = []
    at = 0
    while at < len(text) and len(parts) < 5:
        if parts:
            gap = _AND.match(text, at)
            at = gap.end() if gap else at
        part, at = _part(text, at)
        if part is None:
            return None
        parts.append(part)
    if at < len(text) or not parts or not all(part.unit for part in parts[: -1 if len(parts) > 1 else 0]):
        return None
    return tuple(parts)


def ratio(text: str) -> tuple[Fraction, ...]:
    """`2:4:6` as (1, 2, 3); empty where it is none."""
    text = text.replace(r"\colon", ":")
    if not _RATIO.fullmatch(text):
        return ()
    terms = [_fraction(term) for term in text.split(":")]
    return tuple(term / terms[0] for term in terms) if terms[0] else ()


def is_number(found: Quantity | None) -> bool:
    """Whether it is a single number, with or without a unit."""
    return found is not None and len(found) == 1 and isinstance(found[0].value, Fraction)


def same(right: Quantity, given: Quantity) -> bool:
    """Whether every part of the one is a part of the other."""
    left = list(given)
    for part in right:
        match = next((other for other in left if _same(part, other)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def rounds_to(decimal: str, exact: Fraction) -> bool:
    """Whether a decimal with enough places is what `exact` comes to, rounded or cut there."""
    digits = decimal.partition(".")[2]
    if len(digits) < _PLACES or len((decimal.replace(".", "")).lstrip("-+0 ")) < _PLACES:
        return False
    away = abs(Fraction(decimal.replace(" ", "")) - exact) * 10 ** len(digits)
    return away <= Fraction(1, 2) or (away < 1 and abs(Fraction(decimal.replace(" ", ""))) < abs(exact))


def _same(right: Part, given: Part) -> bool:
    if contradict(right.unit, given.unit):
        return False
    if isinstance(right.value, Fraction) != isinstance(given.value, Fraction):
        return _digits_alone(right, given)
    if not isinstance(right.value, Fraction) or not isinstance(given.value, Fraction):
        return right.value == given.value
    if right.percent != given.percent:
        hundredth = right.value / (100 if right.percent else 1) == given.value / (100 if given.percent else 1)
        return hundredth or (right.value == given.value and (right.percent or right.value.denominator == 1))
    if right.value == given.value:
        return True
    if (right.places is None) == (given.places is None):
        return False
    decimal, exact = (right, given) if right.places is not None else (given, right)
    return _rounded(decimal, exact)


def _rounded(decimal: Part, exact: Part) -> bool:
    assert decimal.places is not None and isinstance(decimal.value, Fraction) and isinstance(exact.value, Fraction)
    return decimal.places >= _PLACES and rounds_to(_written(decimal.value, decimal.places), exact.value)


def _written(value: Fraction, places: int) -> str:
    digits = str(abs(int(value * 10**places))).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _digits_alone(right: Part, given: Part) -> bool:
    """1101_2 and 1101, 7 pm and 7: a base, or half of the day, that only one side names is overlooked."""
    with_base, number = (right, given) if isinstance(given.value, Fraction) else (given, right)
    assert isinstance(with_base.value, tuple) and isinstance(number.value, Fraction)
    if with_base.value[0] == "clock":
        return with_base.unit != () and with_base.value[1:] == (str(number.value), "0", "0")
    return with_base.value[0] == "base" and number.places == 0 and with_base.value[1] == str(number.value)


def _numeral(text: str) -> Part | None:
    found = _BASE.fullmatch(text)
    if found is None:
        return None
    digits, named = found[1].upper().lstrip("0") or "0", next(filter(None, found.groups()[1:]))
    base = int(named) if named.isdigit() else _BASES.get(named, 0)
    if base < 2 or (not found[1][0].isdigit() and (base <= 10 or any(int(d, 36) >= base for d in digits if d != "."))):
        return None  # a variable with an index
    if any(d.isalpha() for d in digits) and base <= 10:
        return None
    return Part(("base", digits, str(base)))


def _part(text: str, at: int) -> tuple[Part | None, int]:
    clock = _CLOCK.match(text, at)
    if clock:
        unit, end = unit_of(text, clock.end())
        return Part(("clock", *(str(int(n or 0)) for n in clock.groups())), unit.names), end
    found = _NUMBER.match(text, at)
    value = _value(found) if found else None
    if found is None or value is None:
        return None, at
    decimal, exponent = found["decimal"], found["exponent"]
    places = len(decimal.partition(".")[2]) if decimal is not None and exponent is None else None
    if exponent is not None:
        places = max(0, len(decimal.partition(".")[2]) - int(exponent))
    unit, end = unit_of(text, found.end())
    if places == 0 and unit.names in (("am",), ("pm",)):
        return Part(("clock", str(value), "0", "0"), unit.names), end
    return Part(value * unit.times, unit.names, found["percent"] is not None, places if unit.times == 1 else 0), end


def _value(found: re.Match[str]) -> Fraction | None:
    """None where it cannot be worked out: nothing over zero, an exponent out of bounds."""
    sign = -1 if found["sign"].strip() == "-" else 1
    try:
        if found["top"] is not None:
            value = int(found["whole"] or 0) + _fraction(found["top"]) / _fraction(found["bottom"])
        elif found["full"] is not None:
            value = int(found["full"]) + Fraction(int(found["over"]), int(found["under"]))
        elif found["left"] is not None:
            value = _fraction(found["left"]) / _fraction(found["right"])
        elif found["again"] is not None:
            before, fixed, again = found["before"], found["fixed"], found["again"]
            once = int(before + fixed + again or 0) - int(before + fixed or 0)
            value = Fraction(once, (10 ** len(again) - 1) * 10 ** len(fixed))
        else:
            exponent = int(found["exponent"] or 0)
            if abs(exponent) > _FURTHEST:
                return None
            value = _fraction(found["decimal"]) * Fraction(10) ** exponent
    except ZeroDivisionError:
        return None
    return sign * Fraction(value)


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(" ", ""))
