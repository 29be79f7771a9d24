"""What the fields of somebody's rows are, by their names and by what stands in them. For `pmd init`: a proposal, never a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAMES = {
    "prompt": ("prompt", "question", "problem", "task", "instruction", "input", "query", "text"),
    "answer": (
        "answer",
        "gold",
        "target",
        "label",
        "expected",
        "result",
        "solution",
        "output",
        "response",
        "completion",
    ),
    "id": ("id", "uid", "uuid", "task_id", "number", "index"),
    "kind": ("kind", "category", "subject", "topic", "domain", "type", "level", "difficulty"),
    "system": ("system", "system_prompt"),
    "split_field": ("split", "part", "subset"),
}
"""Names by which fields go elsewhere, the likeliest first."""
OPTIONS = ("choices", "options", "alternatives")
TESTS = ("tests",)
"""What the verifier `code` reads."""
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?%?|[-+]?\d+/\d+")
_MATH = re.compile(r"####|\\boxed|\\frac|\\sqrt|\$[^$]+\$")
MANY_KINDS = 20
"""Different values of a field beyond which it is no kind to report by."""


@dataclass(frozen=True, slots=True)
class Guess:
    """Fields by role (those of a recipe's problems), the verifier, and a reason for each."""

    fields: Mapping[str, str | list[str] | None]
    verifier: str
    why: Mapping[str, str]


def guess(rows: Sequence[Mapping[str, Any]]) -> Guess:
    """From the first rows of a file. `fields["prompt"]` is None where no field holds text."""
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None and value != "":
                columns.setdefault(name, []).append(value)
    fields: dict[str, str | list[str] | None] = {}
    why: dict[str, str] = {}
    for role, known in NAMES.items():
        if found := _named(columns, known, {str(f) for f in fields.values()}):
            fields[role], why[role] = found, "by its name"
    if isinstance(kind := fields.get("kind"), str) and len(set(map(str, columns[kind]))) > MANY_KINDS:
        del fields["kind"], why["kind"]
    texts = {n: v for n, v in columns.items() if all(isinstance(one, str) for one in v) and n not in fields.values()}
    if "prompt" not in fields and texts:
        fields["prompt"] = max(texts, key=lambda name: sum(map(len, texts[name])) / len(texts[name]))
        why["prompt"] = "the longest text of a row"
    if options := _options(columns):
        fields["choices"], why["choices"] = options, "options of multiple choice"
    tests = _named(columns, TESTS, set())
    verifier, why["verifier"] = _verifier(columns, fields, tests)
    if verifier == "code":
        fields["answer"] = None
    return Guess({"prompt": None} | fields, verifier, why)


def _named(columns: Mapping[str, Any], known: Sequence[str], taken: set[str]) -> str | None:
    lower = {name.lower().strip().replace(" ", "_"): name for name in columns if name not in taken}
    return next((lower[name] for name in known if name in lower), None)


def _options(columns: Mapping[str, Sequence[Any]]) -> str | list[str] | None:
    letters = [name for name in columns if re.fullmatch(r"(?:option[ _]?|choice[ _]?)?[A-Ja-j]", name)]
    if len(letters) >= 2 and [name[-1].upper() for name in letters] == list("ABCDEFGHIJ"[: len(letters)]):
        return letters
    return _named(columns, OPTIONS, set())


def _verifier(
    columns: Mapping[str, Sequence[Any]], fields: Mapping[str, str | list[str] | None], tests: str | None
) -> tuple[str, str]:
    answer = fields.get("answer")
    if "choices" in fields:
        return "multiple_choice", "there are options"
    if answer is None:
        return ("code", f"there are tests ({tests}) and no answer") if tests else ("exact", "nothing else fits")
    values = [str(value).strip() for value in columns[str(answer)]]
    if values and all(re.fullmatch(r"[A-J]", value) for value in values):
        return "multiple_choice", "every answer is a letter"
    numbers = sum(bool(_NUMBER.fullmatch(value) or _MATH.search(value)) for value in values)
    if numbers >= 0.8 * len(values):
        return "math", f"{numbers} of {len(values)} answers are numbers or formulas"
    return "exact", "the answers are words"
