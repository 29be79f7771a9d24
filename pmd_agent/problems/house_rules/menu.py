"""The menu of conventions. Every form of one tells apart from the others on every instance; the first is the habit."""

from __future__ import annotations

import random
from collections.abc import Callable

from pmd_agent.problems.house_rules import instances
from pmd_agent.problems.house_rules.conventions import Convention, Form, Values

Demand = tuple[str, str]
NO_BLANK = (r"^\S+$", "has a blank where none is allowed")
SEPARATOR = "has a separator that is not accepted"
UNIT = "has a unit that is not accepted"
YEAR_FIRST = (r"^\d{4}\D", "must begin with the year")
YEAR_LAST = (r"^\d\d?\D", "must not begin with the year")
DIGIT_FIRST = (r"^\d", "must begin with a digit")
DIGIT_LAST = (r"\d$", "must end with a digit")
CAPITAL_FIRST = (r"^[A-Z]", "must begin with a capital")
SMALL_FIRST = (r"^[a-z]", "must begin with a small letter")
THING_FIRST = (r"^[a-z]", "must begin with the thing")
BLANK = (r" ", "lacks a blank")
KILOGRAMS = (r"kg$", UNIT)
KILOMETERS = (r"km$", UNIT)
ONE_SIGN = (r"^\d+\D\d+\D\d+$", "has a sign that is not accepted")
SIGN_BETWEEN = (r"^\w+ \W+ \w+$", "must have a sign in its middle, with blanks")
THOUSANDS = (r"^\d+\D\d+$", "lacks a separator")
FLOOR_FIRST = (r"^\d", "must begin with the floor")
NO_LETTERS = (r"^[^A-Za-z]+$", "has letters")
NO_COMMA = (r"^[^,.]+$", "has a sign that is not accepted")
NO_COLON = (r"^[^:]+$", "has a sign that is not accepted")
PUNCTUATION = "is not punctuated as it should be"
WORD_LAST = (r"[a-z]{4}$", "must end with a word")
WORD = (r" [a-z]+ ", "lacks a word")
DEGREE = (r"°", "lacks a sign")
NO_DECIMALS = (r"^\d+ ", "has decimals")


def form(name: str, how: str, template: str, *demands: Demand) -> Form:
    return Form(name, how, template, demands)


def convention(
    name: str,
    asked: str,
    draw: Callable[[random.Random], Values],
    *forms: Form,
    example: Values | None,
    label: str = "",
) -> Convention:
    return Convention(name, label or name, asked, draw, forms, forms[0].name, example)


MENU: tuple[Convention, ...] = (
    convention(
        "date", "the date {month} {d}, {y}", instances.date,
        form("iso", "as YYYY-MM-DD", "{y}-{m:02d}-{d:02d}", YEAR_FIRST, (r"^\d+-\d+-\d+$", SEPARATOR)),
        form("points", "as DD.MM.YYYY", "{d:02d}.{m:02d}.{y}", YEAR_LAST, (r"^\d+\.\d+\.\d+$", SEPARATOR)),
        form("slashes", "as MM/DD/YYYY", "{m:02d}/{d:02d}/{y}", YEAR_LAST, (r"^\d+/\d+/\d+$", SEPARATOR)),
        form("year-first", "as YYYY/MM/DD", "{y}/{m:02d}/{d:02d}", YEAR_FIRST, (r"^\d+/\d+/\d+$", SEPARATOR)),
        example={"d": 5, "m": 3, "y": 2021},
    ),
    convention(
        "time", "the time {h}:{min} in the {part}", instances.time,
        form(
            "am-pm", "as H:MM AM or H:MM PM", "{h}:{min} {mark}",
            (r"[A-Z]$", "does not say which half of the day it is"), (r"\d [AP]M$", PUNCTUATION),
        ),
        form("24h", "as HH:MM of the 24 hour clock", "{H:02d}:{min}", NO_LETTERS, (r"^\d\d:", PUNCTUATION)),
        form(
            "military", "as HHMMh of the 24 hour clock", "{H:02d}{min}h",
            NO_COLON, (r"[a-z]$", "must end with its unit"),
        ),
        form("h-between", "as HHhMM of the 24 hour clock", "{H:02d}h{min}", NO_COLON, DIGIT_LAST),
        example={"h": 9, "H": 21, "min": 30, "mark": "PM"},
    ),
    convention(
        "price", "the price of {a} dollars and {c} cents", instances.numbers(a=(2, 99), c=(10, 99)),
        form("sign", "with $ before the number", "${a}.{c}", (r"^\$", "must begin with the sign of the currency")),
        form(
            "code-before", "with USD before the number", "USD {a}.{c}",
            (r"^[A-Z]{3}\b", "must begin with a currency code"), (r"^\S+ \S+$", "lacks a blank"),
        ),
        form(
            "code-behind", "with USD behind the number", "{a}.{c} USD",
            DIGIT_FIRST, (r"[A-Z]$", "must end with a currency code"),
        ),
        form(
            "us-sign", "with US$ before the number", "US${a}.{c}",
            (r"^[A-Z]{2}\W", "does not say whose currency it is"), NO_BLANK,
        ),
        example={"a": 7, "c": 25},
    ),
    convention(
        "weight", "the weight of {k} kilograms", instances.numbers(k=(2, 99)),
        form("blank", "in kg with a blank before the unit", "{k} kg", KILOGRAMS, BLANK, NO_DECIMALS),
        form("joined", "in kg without a blank before the unit", "{k}kg", KILOGRAMS, NO_BLANK),
        form("grams", "in grams", "{k}000 g", (r"[^k]g$", UNIT)),
        form("decimal", "in kg with one decimal", "{k}.0 kg", KILOGRAMS, (r"\.", "lacks a decimal")),
        example={"k": 5},
    ),
    convention(
        "name", "the name of {f} {l}", instances.person,
        form("plain", "as first name and family name", "{f} {l}", NO_COMMA, (r"[a-z]$", "has too many capitals")),
        form(
            "comma", "as family name, comma, first name", "{l}, {f}",
            (r",", "must begin with the part by which names are sorted"), (r"^[A-Z][a-z]", "has too many capitals"),
        ),
        form("login", "in small letters with a point in between", "{login}", (r"^[^A-Z]+$", "has capitals"), NO_BLANK),
        form("capitals", "in capital letters", "{F} {L}", (r"^[^a-z]+$", "has small letters"), NO_COMMA),
        example={"f": "Max", "l": "Hill", "login": "max.hill", "F": "MAX", "L": "HILL"},
    ),
    convention(
        "phone", "the phone number with area code {a} and number {b} {c}",
        instances.numbers(a=(200, 999), b=(200, 999), c=(1000, 9999)),
        form("hyphens", "with hyphens", "{a}-{b}-{c}", ONE_SIGN, (r"-\d+-", SEPARATOR)),
        form(
            "brackets", "with the area code in brackets", "({a}) {b}-{c}",
            (r"^\D", "does not set the area code apart"),
        ),
        form("blanks", "with blanks", "{a} {b} {c}", ONE_SIGN, (r" \d+ ", SEPARATOR)),
        form("points", "with points", "{a}.{b}.{c}", ONE_SIGN, (r"\.\d+\.", SEPARATOR)),
        example={"a": 333, "b": 444, "c": 5555}, label="phone number",
    ),
    convention(
        "priority", "the priority of request {n}, which is {level}", instances.level,
        form("word", "as URGENT, NORMAL or LOW", "{LEVEL}", (r"^[A-Z]+$", "is not one of the words that are accepted")),
        form("p", "as P1 for urgent, P2 for normal, P3 for low", "P{k}", CAPITAL_FIRST, DIGIT_LAST),
        form("digit", "as 1 for urgent, 2 for normal, 3 for low", "{k}", (r"^\d+$", "is not a number")),
        form("prio", "as prio-1 for urgent, prio-2 for normal, prio-3 for low", "prio-{k}", SMALL_FIRST, DIGIT_LAST),
        example=None,
    ),
    convention(
        "share", "a share of {p} percent", instances.numbers(p=(10, 98)),
        form("sign", "with % behind the number", "{p}%", (r"\W$", "must end with a sign"), NO_BLANK),
        form("word", "with the word percent behind the number", "{p} percent", WORD_LAST),
        form("decimal", "as a decimal", "0.{p:02d}", (r"^0", "must be a number below one")),
        form(
            "fraction", "as a fraction of 100", "{p}/100",
            (r"^\d+\D\d+$", "must be made of two numbers"), (r"^[1-9]", "must not begin with zero"),
        ),
        example={"p": 17},
    ),
    convention(
        "version", "the version of the manual, which is version {a}, revision {b}", instances.numbers(a=(1, 19), b=(1, 29)),
        form("plain", "as two numbers with a point", "{a}.{b}", DIGIT_FIRST, (r"^\d+\D\d+$", "has too many parts")),
        form("v", "with a v before two numbers with a point", "v{a}.{b}", SMALL_FIRST),
        form(
            "three", "as three numbers with points, the last one 0", "{a}.{b}.0",
            DIGIT_FIRST, (r"\d\D\d+\D\d", "lacks a part"),
        ),
        form("r", "as V, number, R, number", "V{a}R{b}", CAPITAL_FIRST),
        example={"a": 4, "b": 7},
    ),
    convention(
        "file", "the name of the text file with report number {n}", instances.numbers(n=(10, 999)),
        form("underscore", "as report, underscore, number", "report_{n}.txt", SMALL_FIRST, (r"_", SEPARATOR)),
        form("hyphen", "as report, hyphen, number", "report-{n}.txt", SMALL_FIRST, (r"-", SEPARATOR)),
        form(
            "joined", "as report and number without a sign in between", "report{n}.txt",
            SMALL_FIRST, (r"^[^-_]+$", "has a sign that is not accepted"),
        ),
        form(
            "capitals", "as REPORT, hyphen, number", "REPORT-{n}.txt",
            (r"^[A-Z]{2}", "has small letters where capitals belong"), (r"-", SEPARATOR),
        ),
        example={"n": 5}, label="file name",
    ),
    convention(
        "ticket", "the reference of ticket number {n}", instances.numbers(n=(100, 9999)),
        form("hash", "with # before the number", "#{n}", (r"^[^\w\s]", "must begin with a sign")),
        form("t", "with T- before the number", "T-{n}", CAPITAL_FIRST, (r"^\w-", "must begin with one letter")),
        form(
            "word", "with TICKET- before the number", "TICKET-{n}",
            CAPITAL_FIRST, (r"^\w\w", "must begin with a whole word"),
        ),
        form("behind", "with /T behind the number", "{n}/T", DIGIT_FIRST, (r"\D$", "lacks its mark")),
        example={"n": 41}, label="reference",
    ),
    convention(
        "temperature", "a temperature of {t} degrees Celsius", instances.numbers(t=(2, 99)),
        form("degree", "with °C behind the number, without a blank", "{t}°C", DEGREE, NO_BLANK),
        form("blank", "with °C behind the number, after a blank", "{t} °C", DEGREE, BLANK),
        form(
            "letter", "with C behind the number, without a blank", "{t}C",
            (r"^\w+$", "has a sign that is not accepted"), (r"\dC$", UNIT),
        ),
        form("word", "with Celsius behind the number", "{t} Celsius", WORD_LAST),
        example={"t": 8},
    ),
    convention(
        "distance", "a distance of {k} kilometers", instances.numbers(k=(2, 99)),
        form("blank", "in km with a blank before the unit", "{k} km", KILOMETERS, BLANK, NO_DECIMALS),
        form("joined", "in km without a blank before the unit", "{k}km", KILOMETERS, NO_BLANK),
        form("meters", "in meters", "{k}000 m", (r"[^k]m$", UNIT)),
        form("decimal", "in km with one decimal", "{k}.0 km", KILOMETERS, (r"\.", "lacks a decimal")),
        example={"k": 6},
    ),
    convention(
        "status", "the status of job {n}, which is {state}", instances.status,
        form("colon", "as number, colon, state", "{n}: {state}", DIGIT_FIRST, (r"^\d+:", SEPARATOR)),
        form(
            "capitals", "as the state in capitals, then the number", "{STATE} {n}",
            (r"^[A-Z]{2}", "must begin with a word in capitals"), DIGIT_LAST,
        ),
        form(
            "brackets", "as the state in square brackets, then the number", "[{state}] {n}",
            (r"^\W", "does not set the state apart"), DIGIT_LAST,
        ),
        form("equals", "as number, equals sign, state", "{n}={state}", DIGIT_FIRST, NO_BLANK),
        example={"n": 88, "state": "done", "STATE": "DONE"},
    ),
    convention(
        "guests", "the two guests {a} and {b}", instances.guests,
        form("and", "with the word and in between", "{a} and {b}", WORD),
        form("ampersand", "with & in between", "{a} & {b}", SIGN_BETWEEN, (r"&", SEPARATOR)),
        form("slash", "with a slash in between, without blanks", "{a}/{b}", NO_BLANK, (r"^\w+\W\w+$", SEPARATOR)),
        form("plus", "with + in between", "{a} + {b}", SIGN_BETWEEN, (r"\+", SEPARATOR)),
        example={"a": "Max", "b": "Nora"}, label="pair of names",
    ),
    convention(
        "room", "the room number {r} on floor {f}", instances.numbers(f=(1, 9), r=(10, 69)),
        form("hyphen", "as floor, hyphen, room", "{f}-{r}", FLOOR_FIRST, (r"^\d-", SEPARATOR)),
        form("point", "as floor, point, room", "{f}.{r}", FLOOR_FIRST, (r"^\d\.", SEPARATOR)),
        form(
            "letters", "as F, floor, R, room", "F{f}R{r}",
            (r"^[A-Z]\d", "must begin with a letter"), (r"\d[A-Z]", SEPARATOR),
        ),
        form("slash", "as floor, slash, room", "{f}/{r}", FLOOR_FIRST, (r"^\d/", SEPARATOR)),
        example={"f": 2, "r": 81}, label="room",
    ),
    convention(
        "number", "the number {t} thousand {r}", instances.numbers(t=(2, 99), r=(100, 999)),
        form("comma", "with a comma after the thousands", "{t},{r}", THOUSANDS, (r",", SEPARATOR)),
        form("plain", "as digits alone", "{t}{r}", (r"^\d+$", "has something between its digits")),
        form("blank", "with a blank after the thousands", "{t} {r}", THOUSANDS, (r" ", SEPARATOR)),
        form("point", "with a point after the thousands", "{t}.{r}", THOUSANDS, (r"\.", SEPARATOR)),
        example={"t": 3, "r": 450},
    ),
    convention(
        "duration", "a duration of {h} hours and {m} minutes", instances.numbers(h=(2, 19), m=(10, 59)),
        form(
            "letters", "with h and m behind the numbers", "{h}h {m}m",
            (r"[a-z]$", "must end with its unit"), (r"^\d+h", "has a blank where none is allowed"), (r"m$", UNIT),
        ),
        form("colon", "as hours, colon, minutes", "{h}:{m}", NO_LETTERS),
        form(
            "words", "with h and min behind the numbers and blanks before them", "{h} h {m} min",
            (r"min$", UNIT), (r"^\d+ ", "lacks a blank"),
        ),
        form("iso", "as PT, hours, H, minutes, M", "PT{h}H{m}M", CAPITAL_FIRST),
        example={"h": 1, "m": 45},
    ),
    convention(
        "pages", "the pages {a} to {b}", instances.pages,
        form("hyphen", "with a hyphen in between", "{a}-{b}", DIGIT_FIRST, (r"^\d+-\d+$", SEPARATOR)),
        form("dots", "with two points in between", "{a}..{b}", DIGIT_FIRST, (r"^\d+\.+\d+$", SEPARATOR)),
        form(
            "pp", "with pp. before and a hyphen in between", "pp. {a}-{b}",
            (r"^[a-z]", "must begin with a short word"), (r"-", SEPARATOR),
        ),
        form("to", "with the word to in between", "{a} to {b}", DIGIT_FIRST, WORD),
        example={"a": 201, "b": 209}, label="range of pages",
    ),
    convention(
        "order", "the order of {n} boxes of {thing}", instances.order,
        form(
            "words", "in words, as number, boxes of, thing", "{n} boxes of {thing}",
            DIGIT_FIRST, (r"[a-z] [a-z]+ [a-z]", "is too short"),
        ),
        form("x", "as number, x, thing, with blanks", "{n} x {thing}", DIGIT_FIRST, (r"^\d+ [a-z] [a-z]", PUNCTUATION)),
        form("colon", "as thing, colon, number", "{thing}: {n}", THING_FIRST, DIGIT_LAST),
        form(
            "brackets", "as thing, then the number in brackets", "{thing} ({n})",
            THING_FIRST, (r"\W$", "does not set the number apart"),
        ),
        example={"n": 61, "thing": "wood"},
    ),
)  # fmt: skip
