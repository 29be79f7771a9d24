"""Sequences in, hidden states out: the model's body, run once over what they share (forest.py), or padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.forest import plant
from pmd_agent.distillation.lm_head import body_of
from pmd_agent.distillation.shared_attention import Sharing, install, read

Row = tuple[tuple[int, ...], Example]
"""A prompt, and the example whose completion follows it."""


class ForwardPass:
    """Reads with whatever adapter is active."""

    def __init__(self, model: Any, *, pad_id: int, share: bool) -> None:
        base = model.get_base_model()
        self._model, self._pad_id = model, pad_id
        self._body, self._dtype = body_of(base), base.dtype
        self._embeddings = base.get_input_embeddings()
        self.sharing = install(base) if share else Sharing("distill.share_prefixes is off")
        self.unshared = self.sharing.refused
        """Why shared beginnings are computed for every rollout anew; "" where they are not."""

    def hidden(self, rows: Sequence[Row]) -> Tensor:
        """(N, D) last hidden states at the positions that predict the tokens which the policy wrote, row after row."""
        with self.autocast():
            return self._padded(rows) if self.unshared else self._shared(rows)

    def autocast(self) -> torch.autocast:
        """Within: a half-precision base multiplies in its own precision, also with the adapter, whose weights stay float32."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._is_half)

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Within: what goes into an adapter is not cast to float32, as PEFT does at twice the memory and a fraction of the speed.

        It has to hold for the backward pass too, where checkpointed activations are computed again.
        """
        from peft.helpers import disable_input_dtype_casting

        with disable_input_dtype_casting(self._model, active=self._is_half):
            yield

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._embeddings.weight.device
        return device

    @property
    def _is_half(self) -> bool:
        return self._dtype in (torch.bfloat16, torch.float16)

    def _shared(self, rows: Sequence[Row]) -> Tensor:
        forest = plant([prompt + e.completion_ids for prompt, e in rows])
        places = [
            columns[len(prompt) - 1 + t]
            for (prompt, e), columns in zip(rows, forest.columns, strict=True)
            for t, written in enumerate(e.written)
            if written
        ]
        states = read(self._body, forest, self._device, one_call=self.sharing.one_call)
        return states[torch.tensor(places, dtype=torch.long, device=self._device)]

    def _padded(self, rows: Sequence[Row]) -> Tensor:
        """Rows are padded on the right: under causal attention padding cannot reach what comes before it."""
        width = max(len(prompt) + len(e.completion_ids) for prompt, e in rows)
        ids = torch.full((len(rows), width), self._pad_id)
        predicts = torch.zeros((len(rows), width), dtype=torch.bool)
        for row, (prompt, e) in enumerate(rows):
            end = len(prompt) + len(e.completion_ids)
            ids[row, :end] = torch.tensor([*prompt, *e.completion_ids])
            predicts[row, len(prompt) - 1 : end - 1] = torch.tensor(e.written)
        hidden: Tensor = self._body(input_ids=ids.to(self._device), use_cache=False).last_hidden_state
        return hidden[predicts.to(self._device)]
