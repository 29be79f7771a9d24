"""Which insights say a rule: the same in other words, and not the same words about something else.

A rule is remembered with the insights that say it as its sources, and counts the problems behind them. So a contradiction
must not pass for support, however alike it looks: "Use wex sub." is no voice for "Use wex max.", nor "Never round up." for
"Round up.", nor "Keep 2 digits." for "Keep 3 digits.". A likeness of embeddings does not tell these apart (docs/log.md), so
the words decide: pure rules on the words' stems, the same for every embedder, and for English better than for other languages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from pmd_agent.types import Insight

COVERED = 0.7
"""So large a share of the rule's words must be in the insight."""
_WORD = re.compile(
    r"\d+(?:[.,]\d+)*|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]+(?:['’][^\W\d_]+)?|!=|<=|>=|[-+*/^=<>%]"
)
_NEGATION = re.compile(r"(?:no|not|never|none|nor|without|avoid|refrain|cannot|[a-z]+n['’]t)\Z")
_SILENT = frozenset(
    """a an the this that these those it its is are be been was were do does did will would can could may might must shall should
    have has had you your we our they their there here of for to in on at as by with from into and or then so also very just
    always each every any all when whenever if while which who what how explicitly carefully please e.g i.e""".split()
)
"""Words that may differ: a rule says the same with and without them. Little words that turn a sentence round are not among them."""
_ORDERING = frozenset("before after until than".split())
"""Where one of these is in both, the other words must come in one order, too."""
_SYNONYMS = (
    "check verify confirm ensure test inspect make sure",
    "use apply take choose pick select employ",
    "compute calculate determine evaluate find work",
    "write state give report express put",
    "identify recognize recognise notice spot",
    "remember recall note mind",
    "convert change transform translate",
    "begin start",
    "remove drop delete discard",
    "wrong incorrect false mistaken",
    "right correct",
    "answer result",
    "option choice",
)
"""Words for one thing, as instructions have them."""
_OPPOSITES = (
    "before after", "first last", "more less", "more fewer", "most least", "above below", "up down", "over under", "high low",
    "higher lower", "large small", "larger smaller", "largest smallest", "greater smaller", "increase decrease", "add subtract",
    "add remove", "multiply divide", "maximum minimum", "max min", "left right", "include exclude", "keep remove", "start end",
    "even odd", "positive negative", "open close", "inside outside", "early late", "long short", "ascending descending",
    "true wrong", "right wrong", "row column", "numerator denominator",
)  # fmt: skip


def has_content(text: str) -> bool:
    """Whether it says anything: a word that is not just a little one, beside numbers and signs. One letter says nothing."""
    words, _ = _content(text)
    alone = len(words) == 1 and len(words[0]) == 1 and words[0].isascii()
    return not alone and any(word[0].isalpha() for word in words)


def says(insight: str, rule: str) -> bool:
    """Whether the insight says the rule, perhaps in more detail. Both have content, else False."""
    (said, said_negations), (words, negations) = _content(insight), _content(rule)
    if not (has_content(insight) and has_content(rule)) or said_negations % 2 != negations % 2:
        return False
    if not {w for w in words if w[0].isdigit()} <= set(said):
        return False
    only_said, only_rule = set(said) - set(words), set(words) - set(said)
    if any(pair & only_said and pair & only_rule for pair in _PAIRS):
        return False
    if sum(word in set(said) for word in words) < COVERED * len(words):
        return False
    return not (_substituted(said, words, only_said, only_rule) or _turned_round(said, words))


def supporters(rule: str, insights: Sequence[Insight]) -> list[Insight]:
    """The insights that say the rule, in their order."""
    return [insight for insight in insights if says(insight.text, rule)]


def _substituted(said: tuple[str, ...], words: tuple[str, ...], only_said: set[str], only_rule: set[str]) -> bool:
    """Whether a word of the rule has another in its very place: "Use wex sub." for "Use wex max."."""
    for kind, a, b, c, d in SequenceMatcher(None, said, words, autojunk=False).get_opcodes():
        if kind == "replace" and b - a == d - c and set(said[a:b]) <= only_said and set(words[c:d]) <= only_rule:
            return True
    return False


def _turned_round(said: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Whether what both say comes in another order on the two sides of a word such as "before"."""
    both = set(said) & set(words)
    if not both & {_stem(word) for word in _ORDERING}:
        return False
    one, other = (list(dict.fromkeys(word for word in of if word in both)) for of in (said, words))
    return one != other


@lru_cache(maxsize=4096)
def _content(text: str) -> tuple[tuple[str, ...], int]:
    """Its words as stems, one word for words that mean one thing, without the silent ones; and how often it negates."""
    words = ["A" if _names(text, found) else found[0].replace("’", "'").lower() for found in _WORD.finditer(text)]
    negations = sum(bool(_NEGATION.match(word)) for word in words)
    kept = (_stem(word) for word in words if word not in _SILENT and not _NEGATION.match(word))
    return tuple(_ONE_FOR.get(word, word) for word in kept), negations


def _names(text: str, found: re.Match[str]) -> bool:
    """Whether this A is a name, as of an answer, and no article: "Choose A.", not "A ring counts."."""
    begins = not text[: found.start()].strip() or text[: found.start()].rstrip()[-1] in ".:!?"
    return found[0] == "A" and not (begins and re.match(r"\s+[a-z]", text[found.end() :]))


def _stem(word: str) -> str:
    """Without the endings of plural and of verbs, so far as that is safe: "rings", "counted", "counting"."""
    if not (word.isalpha() and word.isascii()):
        return word
    for ending, least in (("ies", 5), ("ing", 6), ("ed", 5), ("es", 5), ("s", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending == "ies" else "")
            word = word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz" else word
            break
    return word.rstrip("e") if len(word) > 3 else word


_ONE_FOR = {_stem(word): _stem(group.split()[0]) for group in _SYNONYMS for word in group.split()}
_PAIRS = tuple(frozenset(_ONE_FOR.get(_stem(word), _stem(word)) for word in pair.split()) for pair in _OPPOSITES)
