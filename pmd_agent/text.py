"""What is done to a text before a model, or a verifier, reads it."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

# Markers by which chat templates set turns apart: ChatML and its kin, DeepSeek's wide bars, Llama 2, Gemma, plain bos/eos.
_BOXED = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s{0,4}(?:(\{)|(?=[^\s{}$])(?!\\[^A-Za-z{]))|(?<!\\)[{}]")
_UNBRACED = re.compile(r"\\[A-Za-z]+|\\?.", re.DOTALL)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
_COMMON = r"<[|｜][^<>|｜]{1,40}[|｜]>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>"
_THINK = re.compile(r"<\s{0,2}(/?)\s{0,2}think(?:ing)?\s{0,2}>", re.IGNORECASE)
_LONGEST_UNBRACED = 500
_QUOTES = frozenset("`'\"‘’“”«»")
_FILLERS = (" ", "\ufffd", "·", "~")


def readable(text: str) -> str:
    """Valid UTF-8 without NUL, not reversible: what tokenizers, embedders and documents can take."""
    return text.replace("\x00", " ").encode("utf-8", "replace").decode("utf-8")


def neutralise(text: str, special_tokens: Collection[str] = ()) -> str:
    """Readable text without the special_tokens by which it could pose as another speaker, in one pass.

    `special_tokens` are those of the tokenizer that will read it; the common ones are taken out anyway.
    """
    pattern, filler = _markers(frozenset(special_tokens))
    return pattern.sub(filler, readable(text))


@lru_cache(maxsize=16)
def _markers(special_tokens: frozenset[str]) -> tuple[re.Pattern[str], str]:
    # The filler is in no marker of the tokenizer: what is left and right of it cannot grow together into one.
    own = sorted((marker for marker in special_tokens if marker.strip()), key=lambda marker: (-len(marker), marker))
    filler = next(f for f in _FILLERS if not any(f in marker for marker in own))
    return re.compile("|".join([*map(re.escape, own), _COMMON])), filler


def cut(text: str, limit: int) -> str:
    """At most about `limit` characters: head and tail, since the end of an attempt holds its answer."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]} […] {text[len(text) - (limit - head) :]}"


def strip_thinking(text: str) -> str:
    """The text without hidden reasoning: `<think>` and `<thinking>` blocks (SDPO strips them from demonstrations as well).

    A block that is never closed goes on to the end (the model was cut off while thinking), and one that was never opened
    begins at the start (chat templates put the opening tag into the prompt). A tag that is only spoken of is text: one in
    quotation marks, or one that opens in the middle of a line and is never closed. One pass, no backtracking.
    """
    kept: list[str] = []
    cursor, start = 0, None
    tags = [tag for tag in _THINK.finditer(text) if not _quoted(text, tag)]
    closed = max((n for n, tag in enumerate(tags) if tag[1]), default=-1)
    for n, tag in enumerate(tags):
        if not tag[1]:
            if start is None and (n < closed or _begins_line(text, tags[n - 1] if n else None, tag)):
                start = tag.start()
            continue
        if start is None:
            kept.clear()
        else:
            kept.append(text[cursor:start])
        cursor, start = tag.end(), None
    return "".join([*kept, text[cursor:start]]).strip()


def _begins_line(text: str, before: re.Match[str] | None, tag: re.Match[str]) -> bool:
    """Whether no words are before the tag in its line, or it stands close to them, as no word of a sentence does."""
    between = text[before.end() if before else 0 : tag.start()]
    words = between.rpartition("\n")[2]
    if words.strip():
        return not words[-1].isspace() and words[-1] not in "(["
    return "\n" in between or before is None or bool(before[1])


def _quoted(text: str, tag: re.Match[str]) -> bool:
    """In quotation marks or a single backtick on both sides; a code fence is none."""
    before, after = text[max(0, tag.start() - 2) : tag.start()], text[tag.end() : tag.end() + 2]
    return before[-1:] in _QUOTES and after[:1] in _QUOTES and "``" not in (before, after)


def last_boxed(text: str) -> str | None:
    r"""What is in the last `\boxed{...}` or `\fbox{...}` whose braces close, or behind a `\boxed` without braces.

    None where there is none.
    """
    found = (-1, -1)  # where the content begins and ends; an end of -1: as far as `_unbraced` says
    boxes: list[int] = []  # of every brace that is open: where its box begins, -1 where it is no box's
    for token in _BOXED.finditer(text):
        if token[0].endswith("{"):
            boxes.append(token.end() if token[1] else -1)
        elif token[0] != "}":
            found = max(found, (token.end(), -1))
        elif boxes and (start := boxes.pop()) >= 0:
            found = max(found, (start, token.start()))
    start, end = found
    if start < 0:
        return None
    return text[start:end].strip() if end >= 0 else _unbraced(text[start : start + _LONGEST_UNBRACED])


def _unbraced(text: str) -> str:
    r"""`\frac12` of `\frac12$ is`: up to white space, a dollar, a closing display bracket or brace that was not opened here."""
    depth, end = 0, 0
    for token in _UNBRACED.finditer(text):
        depth += (token[0] == "{") - (token[0] == "}")
        if depth < 0 or (not depth and (token[0].isspace() or token[0] in ("$", "\\)", "\\]", "\\\\"))):
            break
        end = token.end()
    return text[:end].rstrip(".,;:").strip()


def without_group_commas(text: str) -> str:
    """`1,234` as `1234`: only commas between groups of three digits; `(1,234)` may be two numbers, for the caller to tell."""
    return _GROUPED.sub(lambda number: number[0].replace(",", ""), text)
