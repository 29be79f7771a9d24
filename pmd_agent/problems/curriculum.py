"""Which problems a step practises on: every epoch a new order, drawn from the seed, so that any step can be recomputed.

Without `shuffle` they come in their own order, round and round: a curriculum from easy to hard, a world that changes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pmd_agent.types import Problem


class Curriculum:
    """Batches of `size` distinct problems; what is left over at an epoch's end comes up in another epoch's order."""

    def __init__(self, problems: Sequence[Problem], size: int, seed: int, *, shuffle: bool = True) -> None:
        self.problems, self.size, self.seed = list(problems), min(size, len(problems)), seed
        self.shuffle = shuffle
        self.steps_per_epoch = max(1, len(self.problems) // self.size)

    def batch(self, step: int) -> list[Problem]:
        if not self.shuffle:
            return [self.problems[(step * self.size + i) % len(self.problems)] for i in range(self.size)]
        epoch, place = divmod(step, self.steps_per_epoch)
        order = random.Random(f"{self.seed}/{epoch}").sample(self.problems, len(self.problems))
        return order[place * self.size : (place + 1) * self.size]
