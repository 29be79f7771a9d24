"""One letter out of the question's options.

What the answer tag may hold, and what is made of it (options A to D):

    A   a   (A)   [A]   A.   A)   A:   "A"   **A**   `A`   $A$   \\boxed{A}     A
    \\fbox{A}   \\mathbf{A}   {\\bf A}   <b>A</b>   A<br>   A&nbsp;   # A       A   any command or tag of style around it
    A: 12.5 g    A. 12.5 g    (A) 12.5 g    A - 12.5 g    A (12.5 g)           A   letter, a mark, then its text
    Option A     Answer: A    The correct answer is (A).   A is correct        A
    several lines, of which only one letter is given                           A   the others are taken for prose
    A, A         A or A                                                        A   twice the same is one answer
    A or B       A, B     A/B     A B     A: 1, B: 2     one a line            -   several answers are none
    A protein    a lot                                                         -   letter and bare word: an article
    12.5 g       none     AB      (empty)                                      -   no letter
    E                                                                          -   not among the options

The price of "A. 12.5 g" is that the species "C. elegans" is read as C.

Where nothing can be made of it the verdict is reward 0, correct False, answer None, with feedback about the format: the
model did not answer. Feedback on a wrong letter names that letter only, never another option. A right one gets none.

`parse="published"` takes SDPO's rule instead: see `published_letter`.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import Literal

from pmd_agent.errors import ProblemError
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.answer_tag import format_feedback, tagged_answer
from pmd_agent.verifiers.markup import without_html

_ALL = string.ascii_uppercase[:10]
"""Taken for the options where a problem does not list its own in `data["choices"]`."""

_DECORATION = re.compile(
    r"\\(?:(?:text|f)?color|colorbox)\s?\{[A-Za-z!0-9]{1,20}\}"
    r"|\\fcolorbox\s?\{[A-Za-z!0-9]{1,20}\}\s?\{[A-Za-z!0-9]{1,20}\}|\\(?:begin|end)\s?\{[a-z]{1,15}\*?\}"
    r"|\\(?:framebox|makebox)\s?\[[^\[\]]{0,20}\]|\\hspace\*?\s?\{[^{}]{0,20}\}"
    r"|\\(?:(?:frame|make|f|m|h|color)box|ensuremath|uline|hl|overline|centering|itshape|ttfamily|rmfamily|sffamily|scshape|upshape"
    r"|small|tiny|footnotesize|scriptsize|normalsize|boxed|text[a-z]{0,8}|math[a-z]{1,6}|boldsymbol|bm|pmb|emph|underline|operatorname|bf(?:series)?|it|rm|tt|sf"
    r"|[lL]arge|LARGE|[hH]uge|displaystyle|left|right|quad|qquad|newline)(?![A-Za-z])"
    r"|\\[()\[\],;:! \\]|[*_`$\"'{}~\u201c\u201d\u2018\u2019]"
)
_BULLETS = "-\u2013\u2014\u2022#> "
_LEAD = re.compile(
    r"^(?:(?:so|therefore|thus|hence)[, ]+)?(?:(?:the|my) +)?(?:(?:correct|right|final|best) +)?"
    r"(?:answer|option|choice)\b(?: +(?:is|would be)\b)?\s*[:=]?\s*(?:(?:the +)?(?:option|choice|letter)\b *)?"
    r"|^(?:the +)?letter\b *|^(?:i +(?:choose|pick|select)|it is|it's)\b *",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+")
_BRACKETED = r"\(\s*(?P<round>[A-Za-z])\s*\)|\[\s*(?P<square>[A-Za-z])\s*\]"
_MARKED = (
    r"(?P<bare>[A-Za-z])(?:\s?[:)\]=]|\.(?=\s)|\s[-\u2013\u2014](?=\s)|\s?(?=\(.*\)\.?$)"
    r"|(?=\sis (?:the )?(?:correct|right|best)\b))"
)
_WITH_TEXT = re.compile(rf"^(?:{_BRACKETED}|{_MARKED})\s*(?P<text>\S.*)$")
_FURTHER = re.compile(r"(?:[,;/]|\band\b|\bor\b)\s*\(?([A-J])\s*[:)]")
_LONGEST = 2000
"""Characters of an answer that are looked at: the answer is a letter."""


class MultipleChoice:
    """Reward 1 for the right letter, 0 for anything else."""

    def __init__(self, parse: Literal["lenient", "published"] = "lenient") -> None:
        """`lenient`: the table above. `published`: the very letter, where SDPO's public code looks for it."""
        self.parse = parse

    def verify(self, problem: Problem, text: str) -> Verdict:
        """ProblemError where the problem itself has no letter to compare with."""
        options = _options(problem)
        right = (problem.answer or "").strip().upper()
        if right not in options:
            listed = ", ".join(options)
            raise ProblemError(f"{problem.id}: the answer {problem.answer!r} is not one of the options {listed}.")
        read = _published(text, options) if self.parse == "published" else _lenient(text, options)
        if isinstance(read, Verdict):
            return read
        if read == right:
            return Verdict(reward=1.0, correct=True, answer=read)
        return Verdict(reward=0.0, correct=False, feedback=f"Your answer {read} is not correct.", answer=read)


def _lenient(text: str, options: Sequence[str]) -> str | Verdict:
    """The option's letter, or the verdict on a text that gives none."""
    tagged = tagged_answer(text)
    if tagged.content is None:
        return _unanswered(format_feedback(tagged.fault).replace("...", "LETTER"))
    letters = letters_in_answer(tagged.content)
    if len(letters) != 1:
        return _unanswered(_letter_feedback(tagged.content, letters, options))
    (letter,) = letters
    return letter if letter in options else _no_option(letter, options)


def _published(text: str, options: Sequence[str]) -> str | Verdict:
    letter = published_letter(text)
    if letter in options:
        return letter
    if len(letter) == 1 and letter in string.ascii_uppercase:
        return _no_option(letter, options)
    listed = ", ".join(options)
    return _unanswered(
        f"The answer has to be exactly one letter of {listed}, alone in its tag: <answer>LETTER</answer>."
    )


def published_letter(text: str) -> str:
    """What SDPO compares with the right letter: all behind the last `<answer>`, up to the next `</answer>`, without outer blanks.

    Tags are those very ones. Without an opening tag it is the text from its start, without a closing one up to its end.
    """
    return text.rpartition("<answer>")[2].partition("</answer>")[0].strip()


def letters_in_answer(content: str) -> tuple[str, ...]:
    """The different letters, capital, that the content of an answer tag gives as answers (see the table above)."""
    # NFKC makes full-width letters and brackets plain ones.
    plain = _DECORATION.sub(" ", unicodedata.normalize("NFKC", without_html(content[:_LONGEST])))
    found: list[str] = []
    for line in plain.splitlines():
        found += _letters_of_line(" ".join(line.split()))
    return tuple(dict.fromkeys(letter.upper() for letter in found))


def _letters_of_line(line: str) -> list[str]:
    line = _LEAD.sub("", line.lstrip(_BULLETS), count=1)
    words = [word for word in _WORD.findall(line) if word.lower() not in ("and", "or")]
    if all(len(word) == 1 and word in string.ascii_letters for word in words):
        return words
    labelled = _WITH_TEXT.match(line)
    if labelled is None:
        return []
    letter = labelled["round"] or labelled["square"] or labelled["bare"]
    return [letter, *_FURTHER.findall(labelled["text"])]


def _options(problem: Problem) -> tuple[str, ...]:
    choices: Sequence[str] = problem.data.get("choices") or tuple(_ALL)
    return tuple(str(choice).strip().upper() for choice in choices)


def _letter_feedback(content: str, letters: Sequence[str], options: Sequence[str]) -> str:
    wanted = f"put exactly one letter of {', '.join(options)} there: <answer>LETTER</answer>."
    if len(letters) > 1:
        return f"The <answer> tag holds several answers ({', '.join(letters)}); {wanted}"
    if not content:
        return f"The <answer> tag is empty; {wanted}"
    return f"The <answer> tag does not hold the letter of an option; {wanted}"


def _no_option(letter: str, options: Sequence[str]) -> Verdict:
    return _unanswered(f"Your answer {letter} is not one of the options {', '.join(options)}.")


def _unanswered(feedback: str) -> Verdict:
    return Verdict(reward=0.0, correct=False, feedback=feedback)
