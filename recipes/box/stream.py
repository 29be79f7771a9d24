"""Documents without end, tokenised and batched for pretraining."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from recipes.box.documents import MAKERS, Document
from recipes.box.tokenizer import END, START


@dataclass(frozen=True, slots=True)
class Encoded:
    """One document as tokens."""

    kind: str
    ids: list[int]
    learn: list[bool]
    """Where the loss is taken."""


def segments(document: Document) -> Iterator[tuple[str, bool]]:
    """The document in the chat template, in pieces; True where the loss is taken."""
    for role, content in document.turns:
        if not role:  # bare text
            yield from content  # type: ignore[misc]
            continue
        yield f"{START}{role}\n", False
        if isinstance(content, str):
            learn = role == "assistant"
            yield content, learn
        else:
            learn = True
            yield from content
        yield END, learn
        yield "\n", False


class Stream:
    """What one process reads: everything follows from the seed."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: str, context: int) -> None:
        self.tokenizer, self.rng, self.context = tokenizer, random.Random(seed), context

    def step(self, mix: dict[str, float], tokens: int, micro: int, known: dict[str, int]) -> list[list[Encoded]]:
        """Documents of `tokens` tokens in all, by the shares of the mix, in micro-batches of like length.

        `micro` bounds the padded tokens of a micro-batch, `known` is the level of those kinds that have one.
        """
        kinds, weights = list(mix), list(mix.values())
        found: list[Encoded] = []
        total = 0
        while total < tokens:
            kind = self.rng.choices(kinds, weights)[0]
            level = {"known": known[kind]} if kind in known else {}
            found.append(self._encode(MAKERS[kind](self.rng, **level)))
            total += len(found[-1].ids)
        found.sort(key=lambda document: len(document.ids))
        batches: list[list[Encoded]] = [[]]
        for document in found:
            if batches[-1] and (len(batches[-1]) + 1) * len(document.ids) > micro:
                batches.append([])
            batches[-1].append(document)
        return batches

    def _encode(self, document: Document) -> Encoded:
        pieces = list(segments(document))
        encoded = self.tokenizer([text for text, _ in pieces]).input_ids
        ids = [i for piece in encoded for i in piece]
        learn = [flag for piece, (_, flag) in zip(encoded, pieces, strict=True) for _ in piece]
        return Encoded(document.kind, ids[: self.context], learn[: self.context])


def collate(batch: list[Encoded], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) ids and learn flags, padded on the right: causal attention then needs no mask."""
    width = max(len(document.ids) for document in batch)
    ids = torch.full((len(batch), width), pad)
    learn = torch.zeros((len(batch), width), dtype=torch.bool)
    for row, document in enumerate(batch):
        ids[row, : len(document.ids)] = torch.tensor(document.ids)
        learn[row, : len(document.learn)] = torch.tensor(document.learn)
    return ids, learn
