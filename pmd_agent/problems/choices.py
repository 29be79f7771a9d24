"""The options of a multiple-choice question: their letters, and how they and the answer are checked."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from pmd_agent.problems.parse_rows import BadRow, check_text
from pmd_agent.problems.sources import describe_type

LETTERS = string.ascii_uppercase[:10]
"""A to J: the letters an option can have."""

_OPTION_LINE = re.compile(r"^([A-J]):", re.MULTILINE)


def letters_in(prompt: str) -> tuple[str, ...]:
    """The letters of the option lines `A: ...`, `B: ...`; empty where there are not two.

    The last run that begins with A and goes up one by one: a line of the question that happens to look like an option
    does not count.
    """
    run: list[str] = []
    for letter in _OPTION_LINE.findall(prompt):
        if letter == "A":
            run = ["A"]
        elif run and len(run) < len(LETTERS) and letter == LETTERS[len(run)]:
            run.append(letter)
    return tuple(run) if len(run) > 1 else ()


def labelled_options(choices: object) -> dict[str, str]:
    """letter -> text of the hub's `{text: [...], label: [...]}`, or of a list of `{text, label}`. BadRow otherwise."""
    if isinstance(choices, Mapping):
        labels, texts = choices.get("label"), choices.get("text")
    elif isinstance(choices, list) and all(isinstance(choice, Mapping) for choice in choices):
        labels, texts = [c.get("label") for c in choices], [c.get("text") for c in choices]
    else:
        raise BadRow(f"'choices' is {describe_type(choices)} instead of {{text: [...], label: [...]}}")
    if not isinstance(labels, list) or not isinstance(texts, list):
        raise BadRow("'choices' has no list 'text' or no list 'label'")
    if len(labels) != len(texts):
        raise BadRow(f"'choices' has {len(texts)} texts and {len(labels)} labels")
    if len(labels) < 2:
        raise BadRow(f"'choices' has {len(labels)} option{'' if len(labels) == 1 else 's'}: nothing to choose from")
    for label, text in zip(labels, texts, strict=True):
        if not isinstance(label, str) or len(label) != 1 or label not in LETTERS:
            raise BadRow(f"the label {label!r} of an option is not a letter from A to J")
        if not isinstance(text, str) or not text.strip():
            raise BadRow(f"the text of option {label} is {'empty' if text == '' else describe_type(text)}")
        check_text(text, "choices")
    if len(set(labels)) < len(labels):
        raise BadRow(f"two options have the same label: {', '.join(labels)}")
    return dict(zip(labels, texts, strict=True))


def choices_of(row: Mapping[str, Any], fields: str | Sequence[str]) -> Any:
    """The options of a row, None where it has none: what is in the one field, JSON too, or the texts of several, in their order.

    Fields at the end may be empty, where a question has fewer options than others. BadRow for one that is empty before others.
    """
    if isinstance(fields, str):
        return _out_of_json(row.get(fields), fields)
    cells = [row.get(field) for field in fields]
    while cells and (cells[-1] is None or cells[-1] == ""):
        cells.pop()
    for field, cell in zip(fields, cells, strict=False):
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            raise BadRow(f"{field!r} is empty, and an option behind it is not")
        if isinstance(cell, bool) or not isinstance(cell, str | int):
            raise BadRow(f"{field!r} is {describe_type(cell)} instead of the text of an option")
    if len(cells) == 1:
        raise BadRow(f"only {fields[0]!r} has the text of an option: nothing to choose from")
    texts = [check_text(str(cell), field) for field, cell in zip(fields, cells, strict=False)]
    return {"text": texts, "label": list(LETTERS[: len(texts)])} if texts else None


def _out_of_json(value: Any, field: str) -> Any:
    """A cell of a CSV file has text only: a list or an object is written there as JSON."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"{field!r} is a string instead of a list, or of a list as JSON") from error


def letter_answer(answer: str, letters: tuple[str, ...], field: str = "answer") -> str:
    """The answer as one capital letter. BadRow if it is not one, or not among the options (empty: not known)."""
    letter = answer.strip().upper()
    if len(letter) != 1 or letter not in LETTERS:
        raise BadRow(f"{field!r} is {answer.strip()[:40]!r} instead of the letter of an option")
    if letters and letter not in letters:
        raise BadRow(f"{field!r} is {letter!r}, but the options are {', '.join(letters)}")
    return letter


def option_lines(choices: Any) -> str:
    """`A: text`, a line for each option of what `letters_of` takes; empty where there are letters only."""
    if isinstance(choices, list) and all(isinstance(choice, str) for choice in choices):
        texts = [] if all(choice in LETTERS for choice in choices) else choices
        options = dict(zip(LETTERS, texts, strict=False))
    else:
        options = labelled_options(choices)
    return "\n".join(f"{letter}: {text}" for letter, text in options.items())


def letters_of(choices: Any) -> tuple[str, ...]:
    """The letters of a user's `choices`: letters, labelled options, or a list of texts (then A, B, ... in order)."""
    if isinstance(choices, Mapping) or (isinstance(choices, list) and choices and isinstance(choices[0], Mapping)):
        return tuple(labelled_options(choices))
    if not isinstance(choices, list):
        raise BadRow(f"'choices' is {describe_type(choices)} instead of a list")
    if not 2 <= len(choices) <= len(LETTERS):
        raise BadRow(f"'choices' has {len(choices)} options instead of 2 to {len(LETTERS)}")
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise BadRow("'choices' has an option that is not text")
    if all(len(choice) == 1 and choice in LETTERS for choice in choices):
        if len(set(choices)) < len(choices):
            raise BadRow(f"'choices' has a letter twice: {', '.join(choices)}")
        return tuple(choices)
    return tuple(LETTERS[: len(choices)])
