"""What a step reports: running sums over its tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.losses import Judged, Tokens
from pmd_agent.distillation.parallel import Team
from pmd_agent.distillation.token_gains import Gains, aligned

SUMS = ("loss", "weight", "surprisal", "entropy", "ratio", "clipped")


class Tally:
    """Sums over the batches added so far. They stay on the device until they are asked for: to read one waits for all work."""

    def __init__(self, shown: Collection[str] = (), *, with_entropy: bool = False) -> None:
        """`shown`: ids of the rollouts whose gains are kept token by token. `with_entropy`: it was measured."""
        self.loss = self.weight = self.tokens = self.surprisal = self.entropy = self.ratio = self.clipped = 0.0
        self.with_entropy = with_entropy
        self.gains: dict[str, float] = {}
        """Rollout id -> the teacher's mean gain over its tokens."""
        self.token_gains: dict[str, Gains] = {}
        self._shown = frozenset(shown)
        self._gain = {True: [0.0, 0.0], False: [0.0, 0.0]}
        self._sums: list[Tensor] = []
        self._batches: list[tuple[Sequence[Example], Tensor]] = []

    def add(self, batch: Sequence[Example], tokens: Tokens, judged: Judged) -> None:
        """A micro-batch, all of it distilled or all of it reinforced."""
        self.tokens += len(tokens.target_N)
        loss_N = judged.loss_N.detach() * tokens.weight_N
        columns = (
            loss_N, tokens.weight_N, judged.surprisal_N, judged.entropy_N, judged.ratio_N, judged.clipped_N,
        )  # fmt: skip
        self._sums.append(torch.stack([column.to(loss_N.dtype) for column in columns]).sum(1))
        if batch[0].advantage is None:
            self.add_gain(batch, judged.gain_N)

    def add_gain(self, batch: Sequence[Example], gain_N: Tensor) -> None:
        """`gain_N`: the teacher's log-probability less the student's, at the written tokens of the batch."""
        self._batches.append((batch, gain_N.detach()))

    def _read(self) -> None:
        """The device's sums become numbers, in one transfer of each kind."""
        if self._sums:
            # Added in float64, as Python would.
            found = torch.stack(self._sums).double().sum(0).tolist()
            for name, value in zip(SUMS, found, strict=True):
                setattr(self, name, getattr(self, name) + value)
        if self._batches:
            self._read_gains()
        self._sums, self._batches = [], []

    def _read_gains(self) -> None:
        gain_N = torch.cat([gain for _, gain in self._batches]).cpu().double()
        examples = [e for batch, _ in self._batches for e in batch]
        ends = list(accumulate((sum(e.written) for e in examples), initial=0))
        sums = [0.0, *gain_N.cumsum(0).tolist()]
        for e, (start, end) in zip(examples, pairwise(ends), strict=True):
            if end > start:
                self.gains[e.id] = (sums[end] - sums[start]) / (end - start)
                self._gain[e.correct][0] += self.gains[e.id]
                self._gain[e.correct][1] += 1
                if e.id in self._shown:
                    self.token_gains[e.id] = aligned(e, gain_N[start:end].tolist())

    def over(self, team: Team) -> Tally:
        """The sums of all processes; all have to ask."""
        self._read()
        names = ("tokens", *SUMS)
        values = team.sum([*(getattr(self, name) for name in names), *self._gain[True], *self._gain[False]])
        whole = Tally(with_entropy=self.with_entropy)
        for name, value in zip(names, values, strict=False):
            setattr(whole, name, value)
        whole._gain = {True: values[-4:-2], False: values[-2:]}
        whole.gains, whole.token_gains = team.merge(self.gains), team.merge(self.token_gains)
        return whole

    @property
    def teacher_gain(self) -> float | None:
        """Mean gain of correct rollouts less that of wrong ones, nats per token; None where there are not both."""
        (right, n_right), (wrong, n_wrong) = self._gain[True], self._gain[False]
        return right / n_right - wrong / n_wrong if n_right and n_wrong else None

    def metrics(self) -> dict[str, float]:
        """Means over tokens: the loss by weight, the others plainly. The latter are left out where there was no token."""
        found = {"loss": self.loss / (self.weight or 1.0), "tokens": self.tokens}
        if self.tokens:
            found |= {
                "surprisal": self.surprisal / self.tokens,
                "importance_ratio": self.ratio / self.tokens,
                "clip_fraction": self.clipped / self.tokens,
            }
            if self.with_entropy:
                found["entropy"] = self.entropy / self.tokens
        if (gain := self.teacher_gain) is not None:
            found["teacher_gain"] = gain
        return found
