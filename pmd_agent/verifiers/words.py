r"""Answers in words, and words inside of formulas: an anagram is another answer, where a product of variables is the same.

A run of letters is a product of variables where it is one letter, or small letters without a vowel or of a, b, c, i, x, y, z only:
`ab`, `xyz`, `kt`. Everything else is a word: `stop`, `no`, `HTH`.
"""

from __future__ import annotations

import re

_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_RUN = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}(?![A-Za-z^_{])")
_ALLOWED = re.compile(r"[A-Za-z\s.,;:()&'!?/-]+")
_BASE = re.compile(r"(?<![\w.\\}])([0-9]+(?:\.[0-9]+)?)_(?:\{(\d{1,2})\}|(\d))")
_PROTECTED = re.compile(r"\\[A-Za-z]+(?:\{[A-Za-z*]+\})?")
_SEPARATOR = re.compile(r"[,;&]|(?<![A-Za-z])(?:and|or)(?![A-Za-z])")
_LETTER = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s?\^\s?(?:\{\s?\\circ\s?\}|\\circ(?![A-Za-z]))")
_NOT_WORDS = {"and", "or", "mod", "dx", "dy", "dt"}


def is_word(letters: str) -> bool:
    """Whether a run of letters is one, and no product of variables."""
    if len(letters) < 2:
        return False
    small = letters.islower()
    return not (small and (not set(letters) & set("aeiou") or set(letters) <= set("abcixyz")))


def same_words(right: str, given: str) -> bool | None:
    """Whether two answers in words are the same, in any order of what commas part; None where neither is in words."""
    one, other = _phrases(right), _phrases(given)
    if one is None and other is None:
        return None
    if one is not None and other is not None:
        return sorted(one) == sorted(other)
    return _letters_only(right) == _letters_only(given)


def with_words(text: str) -> str:
    r"""The text for a parser that takes bare letters for variables: words, and numerals with a base, as \text{}.

    It also drops degrees: the angles of \sin 30^\circ are in radians then.
    """
    parts: list[str] = []
    at = 0
    for command in [*_PROTECTED.finditer(text), None]:
        end = len(text) if command is None else command.start()
        parts.append(_RUN.sub(lambda run: _as_text(run[0]), text[at:end]))
        if command is not None:
            parts.append(command[0])
            at = command.end()
    text = _BASE.sub(_numeral, "".join(parts))
    return _DEGREES.sub(r"\\frac{\1\\pi}{180}", text) if _ANGLE.search(text) else text


def _numeral(found: re.Match[str]) -> str:
    return rf"\text{{base{_spelt(found[1] + ' ' + (found[2] or found[3]))}}}"


def _as_text(letters: str) -> str:
    return rf"\text{{{letters}}}" if is_word(letters) and letters.lower() not in _NOT_WORDS else letters


def _spelt(digits: str) -> str:
    """In letters, since a parser takes digits apart."""
    return "".join(chr(ord("a") + int(d)) if d.isdigit() else "q" if d == " " else "z" for d in digits)


def _phrases(text: str) -> list[tuple[str, ...]] | None:
    bare = _TEXT.sub(r" \1 ", text)
    if not _ALLOWED.fullmatch(bare):
        return None
    named = {letters for content in _TEXT.findall(text) for letters in _LETTER.findall(content)}
    phrases = [tuple(word.casefold() for word in _LETTER.findall(part)) for part in _SEPARATOR.split(bare)]
    words = [word for word in _LETTER.findall(bare) if word.lower() not in ("and", "or")]
    if not words or not any(is_word(word) or word in named for word in words):
        return None
    return [phrase for phrase in phrases if phrase]


def _letters_only(text: str) -> str:
    return re.sub(r"\\text|\\cdot|[\s{}*()]", "", text)
