r"""Names in answers: `x = 3` is 3, `x = 1, y = 2` is not `x = 2, y = 1`, and R is not r."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = r"[A-Za-z](?:_\w|_\{\w+\})?"
_ASSIGNED = re.compile(rf"({_NAME})\s?=\s?(?=[^=])")
_REVERSED = re.compile(rf"([^=<>]*[^=<>\s!])\s?=\s?({_NAME})$")
_COMMAND = re.compile(r"\\(?:(?:begin|end|text|operatorname)\{[^{}]*\}|[A-Za-z]+)")
_PRIMED = re.compile(r"(?<![A-Za-z\\}])([A-Za-z])('{1,3})")
_RUN = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{1,2}(?![A-Za-z])")


def unassigned(right: str, answer: str) -> tuple[str, str]:
    """Without `x =` in front of both, or of one where the other is no equation; two names are two answers, and stay."""
    (one, first), (other, second) = _name_and_value(right), _name_and_value(answer)
    if one and other:
        return (first, second) if one == other else (right, answer)
    if (one and "=" in answer) or (other and "=" in right):
        return right, answer
    return first, second


def assigned_in_order(right: Sequence[str], answer: Sequence[str]) -> bool:
    """Whether the right ones are of different variables, and the others of none: x = 1, y = 2 beside 1, 2."""
    names = [_name_and_value(one)[0][:1] for one in right]
    return all(names) and len(set(names)) == len(names) and not any("=" in other for other in answer)


def result_of(answer: str) -> str:
    r"""What a calculation that is shown comes to: 42 of `6 \times 7 = 42`; an equation of letters is itself."""
    work, equals, result = answer.rpartition("=")
    if (
        not equals
        or not any(map(str.isdigit, work))
        or not any(map(str.isdigit, result))
        or re.search(r"[<>!]$|\\\w*$", work)
    ):
        return answer
    return answer if re.search("[A-Za-z]", _COMMAND.sub("", work)) else result.strip()


def kept_apart(right: str, answer: str) -> tuple[str, str]:
    """For a parser that takes capital letters for small ones, and drops primes: with an index that tells f' from f.

    Capital letters have one where the small ones are also there.
    """
    right, answer = (_PRIMED.sub(lambda f: f"{f[1]}_{{39{len(f[2])}}}", text) for text in (right, answer))
    bare = _COMMAND.sub(" ", f"{right} {answer}")
    letters = {letter for run in _RUN.findall(bare) for letter in run}
    clash = {letter for letter in letters if letter.isupper() and letter.lower() in letters}
    if not any(clash and _both_cases(text, clash) for text in (right, answer)):
        return right, answer
    return _marked(right, clash), _marked(answer, clash)


def _name_and_value(text: str) -> tuple[str, str]:
    found = _ASSIGNED.match(text)
    if found:
        return found[1], text[found.end() :]
    turned = _REVERSED.fullmatch(text)
    return (turned[2], turned[1]) if turned else ("", text)


def _both_cases(text: str, clash: set[str]) -> bool:
    letters = {letter for run in _RUN.findall(_COMMAND.sub(" ", text)) for letter in run}
    return any(letter in letters and letter.lower() in letters for letter in clash)


def _marked(text: str, clash: set[str]) -> str:
    def index(run: re.Match[str]) -> str:
        return "".join(f"{c.lower()}_{{{ord(c)}}}" if c in clash else c for c in run[0])

    parts, at = [], 0
    for command in _COMMAND.finditer(text):
        parts += [_RUN.sub(index, text[at : command.start()]), command[0]]
        at = command.end()
    return "".join([*parts, _RUN.sub(index, text[at:])])
