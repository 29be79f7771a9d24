"""What each memory does: how much likelier it makes correct rollouts, how often it was read, and whether it is read at all.

Pure: computed from the ledger's records, nothing stored. What follows from it is in trust.py.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["live", "trial", "quarantined", "retired"]
"""trial: of a bank, and not yet shown to help; tried alone, and read by some of the teachers meanwhile."""
MOST = 10.0
"""No rollout counts as more than so many times as likely: a long one, of which much may change, would decide alone."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Over observations of an effect (`worth`)."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """0 where nothing was observed."""
        return self.total / self.n if self.n else 0.0

    @property
    def error(self) -> float:
        """The mean's standard error; infinite below two observations."""
        if self.n < 2:
            return math.inf
        variance = max(0.0, self.squares - self.total**2 / self.n) / (self.n - 1)
        return math.sqrt(variance / self.n)

    def plus(self, other: Sums, weight: float = 1.0) -> Sums:
        """The sums of both, the other's weighted."""
        w = weight
        return Sums(self.n + w * other.n, self.total + w * other.total, self.squares + w * other.squares)


def worth(log_ratio: float) -> Sums:
    """One correct rollout's word on a memory: w - 1, where w = min(q(y | x, m) / q(y | x), MOST).

    q is the teacher, reading the memory m alone or nothing. As the chance of success with m is the sum over correct y of
    q(y | x, m) = q(y | x) w, the mean of w over correct rollouts of q is the chance of success with m divided by that
    without: above 1, m helps. Nothing of it depends on who else is in the bank. Exact where the rollouts are the teacher's
    own without memory and no w is cut; where the student has moved, it speaks of those correct answers that the student
    gives. That is not the mean of log w, by which a true memory looks harmful: a rollout right by luck, which it contradicts,
    costs it more nats than one that it explains gains it.
    """
    value = min(math.exp(min(log_ratio, 100.0)), MOST) - 1
    return Sums(1, value, value * value)


class Effects:
    """Of all memories, after the ledger's newest record."""

    def __init__(self, records: Mapping[int, Mapping[str, Any]], half_life: float = math.inf) -> None:
        """`half_life`: steps after which an observation counts half, because the policy that reads has changed."""
        self.now = max(records, default=-1)
        self._tried: dict[str, Sums] = {}
        self._states: dict[str, tuple[State, str, int]] = {}
        self._uses: defaultdict[str, int] = defaultdict(int)
        self.passed: dict[str, tuple[int, float]] = {}
        """Problem id -> the last step that practised it, and the share of its rollouts that were correct."""
        for step, record in records.items():
            weight = 0.5 ** ((self.now - step) / half_life)
            for name, three in record.get("tried", {}).items():
                self._tried[name] = self.tried(name).plus(Sums(*three), weight)
            for name, (state, why) in record.get("states", {}).items():
                self._states[name] = (state, why, step)
            for name, count in record.get("uses", {}).items():
                self._uses[name] += count
            for problem, rate in record.get("passed", {}).items():
                self.passed[problem] = (step, rate)

    def tried(self, name: str) -> Sums:
        """What is known of a memory that was tried alone (`worth`)."""
        return self._tried.get(name, Sums())

    def state(self, entry_id: str) -> State:
        """Whether it is read."""
        return self._states[entry_id][0] if entry_id in self._states else "live"

    def why(self, entry_id: str) -> str:
        """Why its state last changed, and when; empty where it never did."""
        if entry_id not in self._states:
            return ""
        _, why, step = self._states[entry_id]
        return f"{why} (step {step + 1})"

    def uses(self, entry_id: str) -> int:
        """How many rollouts' teachers have read it."""
        return self._uses.get(entry_id, 0)

    def all_tried(self) -> Sequence[str]:
        """All ids that were tried alone."""
        return list(self._tried)

    def ids(self, state: State) -> Collection[str]:
        """Of that state, which they were given."""
        return {name for name, (found, *_) in self._states.items() if found == state}
