"""What attention over a forest (forest.py) has to know, made once for all layers.

One call of a variable-length kernel takes queries of all segments one after the other, which is how the row holds them, and
keys in the same order, each segment's path from its root before its own tokens. A shared token's key is there once for each
segment that reads it: `key_K` names the columns. In the backward pass the gradients of these copies are added up, which
`copies_K` and `bounds_S` say where to find.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation.forest import Forest


class Plan:
    """Passes through a model untouched, from `read` to each layer's attention."""

    def __init__(self, forest: Forest, device: torch.device, *, one_call: bool = True) -> None:
        self.segments, self.device, self.one_call = forest.segments, device, one_call
        self.masks: dict[tuple[Any, ...], Tensor] = {}
        """Of the path by segments, which its layers share."""
        self._queries = torch.tensor([end - start for start, end in (s.own for s in self.segments)])
        spans = [(n, *span) for n, s in enumerate(self.segments) for span in (*s.before, s.own)]
        self._owner, self._from, self._to = torch.tensor(spans).unbind(1)

    @cached_property
    def _key_K(self) -> Tensor:
        """On the CPU."""
        lengths = self._to - self._from
        starts = lengths.cumsum(0) - lengths
        return torch.arange(int(lengths.sum())) + torch.repeat_interleave(self._from - starts, lengths)

    @cached_property
    def key_K(self) -> Tensor:
        """(K,) the columns of all segments' paths."""
        return self._key_K.to(self.device)

    @cached_property
    def copies_K(self) -> Tensor:
        """(K,) places in `key_K`, those of one column together, in the order of columns."""
        return torch.sort(self.key_K, stable=True).indices

    @cached_property
    def bounds_S(self) -> Tensor:
        """(S,) where in `copies_K` each column's places begin."""
        count = torch.bincount(self._key_K)
        return (count.cumsum(0) - count).to(self.device)

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
        return torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32).to(self.device)
