"""Sequences laid out so that what they share at the start is there once.

The rollouts of a problem share its prompt, and their teachers read much the same memory before it. A causal model's state
at a token depends on what stands before it, and on nothing else; so one copy of a shared beginning serves all. The
sequences become trees of segments in one row of tokens:

    system prompt | problem A | rollout A1 | rollout A2 | problem B | rollout B1 | ...

and each segment is told what stands before it: the path from its root. Pure: ids in, places out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Ids = tuple[int, ...]
Span = tuple[int, int]
"""Columns of the row: from, to (exclusive)."""
SHORTEST = 16
"""A shorter beginning is repeated: an attention call of its own costs more than its tokens."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive tokens that are all read after the same ones."""

    own: Span
    before: tuple[Span, ...]
    """What stands before it, from the root on."""


@dataclass(frozen=True, slots=True)
class Forest:
    """One row of tokens that stands for many sequences."""

    ids: list[int]
    positions: list[int]
    """Of each token in its sequence, the first being 0."""
    segments: tuple[Segment, ...]
    columns: list[list[int]]
    """For each sequence, in which column each of its tokens stands."""


def plant(sequences: Sequence[Ids], shortest: int = SHORTEST) -> Forest:
    """The forest of these sequences; equal beginnings of at least `shortest` tokens, and equal sequences, are there once."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    columns: list[list[int]] = [[] for _ in sequences]
    # Sorted, sequences with the same beginning are neighbours, and what the first and the last share all of them share.
    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    todo: list[tuple[list[int], int, tuple[Span, ...]]] = [(order, 0, ())]
    while todo:
        members, depth, before = todo.pop()
        first, last = sequences[members[0]], sequences[members[-1]]
        shared = common_prefix(first, last)
        same = shared == len(first) == len(last)
        if same or shared - depth >= shortest:
            if shared > depth:
                own = (len(ids), len(ids) + shared - depth)
                ids += first[depth:shared]
                positions += range(depth, shared)
                segments.append(Segment(own, before))
                before = _extended(before, own)
                for i in members:
                    columns[i] += range(*own)
            members = [i for i in members if len(sequences[i]) > shared]
            depth = shared
        todo += [(part, depth, before) for part in reversed(_parts(members, sequences, shared))]
    return Forest(ids, positions, tuple(segments), columns)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    shorter = min(len(a), len(b))
    if a[:shorter] == b[:shorter]:  # at the speed of C, which most pairs of a group need
        return shorter
    return next(i for i in range(shorter) if a[i] != b[i])


def _parts(members: list[int], sequences: Sequence[Ids], depth: int) -> list[list[int]]:
    """Neighbours with the same token at `depth`, or that all end there."""
    parts: dict[int | None, list[int]] = {}
    for i in members:
        parts.setdefault(sequences[i][depth] if len(sequences[i]) > depth else None, []).append(i)
    return list(parts.values())


def _extended(before: tuple[Span, ...], own: Span) -> tuple[Span, ...]:
    """The path with one more piece; pieces that touch become one."""
    if before and before[-1][1] == own[0]:
        return (*before[:-1], (before[-1][0], own[1]))
    return (*before, own)
