"""What attention over a forest (forest.py) has to know, made once for all layers.

One call of a variable-length kernel takes queries of all segments one after the other, which is how the row holds them, and
keys in the same order, each segment's path from its root before its own tokens. A shared token's key is there once for each
segment that reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from pmd_agent.distillation.forest import Forest


@dataclass(frozen=True, slots=True)
class Pick:
    """Which of S columns are taken, each as often as it is named; and in the backward pass, where a column's copies are."""

    column_K: Tensor
    copies_K: Tensor
    """Places in `column_K`, those of one column together, in the order of columns."""
    bounds_S: Tensor
    """Where in `copies_K` each column's places begin."""

    @classmethod
    def of(cls, column_K: Tensor, size: int, device: torch.device) -> Pick:
        """`column_K` on the CPU."""
        count = torch.bincount(column_K, minlength=size)
        placed = column_K.to(device)
        copies = torch.sort(placed, stable=True).indices
        return cls(placed, copies, (count.cumsum(0) - count).to(device))


def gathered(tensor: Tensor, pick: Pick) -> Tensor:
    """(S, ...) -> (K, ...)."""
    found: Callable[[Tensor, Pick], Tensor] = _Gathered.apply
    return found(tensor, pick)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, pick: Pick) -> Tensor:
        ctx.pick = pick
        return tensor.index_select(0, pick.column_K)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Of each column the sum over its copies: in float32 within the kernel, and always in one order."""
        pick = ctx.pick
        summed = embedding_bag(pick.copies_K, gradient.flatten(1), pick.bounds_S, mode="sum")
        return summed.view(-1, *gradient.shape[1:]), None


class Plan:
    """Passes through a model untouched, from `read` to each layer's attention."""

    def __init__(self, forest: Forest, device: torch.device, *, one_call: bool = True) -> None:
        self.segments, self.device, self.one_call = forest.segments, device, one_call
        self.masks: dict[tuple[Any, ...], Tensor] = {}
        """Of the path by segments, which its layers share."""
        self._size, self._columns = len(forest.ids), forest.columns
        self._queries = torch.tensor([end - start for start, end in (s.own for s in self.segments)])
        spans = [(n, *span) for n, s in enumerate(self.segments) for span in (*s.before, s.own)]
        self._owner, self._from, self._to = torch.tensor(spans).unbind(1)

    @cached_property
    def paths(self) -> Pick:
        """The columns that each segment reads."""
        lengths = self._to - self._from
        starts = lengths.cumsum(0) - lengths
        column_K = torch.arange(int(lengths.sum())) + torch.repeat_interleave(self._from - starts, lengths)
        return self._pick(column_K)

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Where segments end among queries and among keys, from 0 on; int32, as kernels want it."""
        return self._bounds(self._queries), self._bounds(self._read)

    @cached_property
    def longest(self) -> tuple[int, int]:
        """Tokens of the longest segment, and of the longest path with its segment."""
        return int(self._queries.max()), int(self._read.max())

    @cached_property
    def _read(self) -> Tensor:
        """Keys of each segment."""
        return torch.zeros_like(self._queries).index_add_(0, self._owner, self._to - self._from)

    def _bounds(self, lengths: Tensor) -> Tensor:
        return pad(lengths.cumsum(0), (1, 0)).to(torch.int32).to(self.device)

    def _pick(self, column_K: Tensor) -> Pick:
        return Pick.of(column_K, self._size, self.device)

    # ---- every sequence whole, in padded rows (forest_recurrence.py)

    @cached_property
    def rows_shape(self) -> tuple[int, int]:
        return len(self._columns), max(map(len, self._columns))

    @cached_property
    def rows(self) -> Pick:
        """The columns of each sequence; rows end with column 0, which nothing before it sees."""
        width = self.rows_shape[1]
        return self._pick(torch.tensor([c for row in self._columns for c in (*row, *[0] * (width - len(row)))]))

    @cached_property
    def places(self) -> Pick:
        """Of each column, where in these rows it stands: in the first that has it."""
        width = self.rows_shape[1]
        place: dict[int, int] = {}
        for number, row in enumerate(self._columns):
            for n, column in enumerate(row):
                place.setdefault(column, number * width + n)
        chosen = torch.tensor([place[column] for column in range(self._size)])
        return Pick.of(chosen, self.rows_shape[0] * width, self.device)
