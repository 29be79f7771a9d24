"""How each memory stands: what reading it does to the teacher, how often it was read, and whether it is read at all.

Pure: computed from the ledger's records, nothing stored. What is measured is lift (`observations`, `Evidence`); what follows
from it is in verdicts.py.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["live", "quarantined", "retired"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sums over observations of one memory's effect, in nats per token."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @property
    def lift(self) -> float:
        """The mean; 0 where nothing was observed."""
        return self.total / self.n if self.n else 0.0

    @property
    def error(self) -> float:
        """The mean's standard error; infinite below two observations."""
        if self.n < 2:
            return math.inf
        variance = max(0.0, self.squares - self.total**2 / self.n) / (self.n - 1)
        return math.sqrt(variance / self.n)

    def plus(self, other: Evidence, weight: float = 1.0) -> Evidence:
        """The sums of both, the other's weighted."""
        w = weight
        return Evidence(self.n + w * other.n, self.total + w * other.total, self.squares + w * other.squares)


@dataclass(frozen=True, slots=True)
class Seen:
    """One rollout as its teacher saw it."""

    stratum: tuple[str, bool]
    """Its problem, and whether it is correct: only within these are rollouts compared."""
    gain: float
    """The teacher's log-probability of the rollout less the student's, nats per token."""
    shown: Mapping[str, float]
    """Memory id (or `tier:NAME`) that was read -> the probability with which it was."""
    hidden: Mapping[str, float]
    """The same of those that the draw left out."""


def observations(seen: Iterable[Seen]) -> dict[str, Evidence]:
    """Memory id -> evidence of one step, from which memories were left out at random in which rollouts.

    A rollout counts +gain if correct and -gain if wrong, less its stratum's mean, so that rollouts that are easy to believe
    in do not look like the work of who was read with them. With inclusion probability p, an observation is that times
    (1/p if read, -1/(1-p) if left out): its expectation is the effect of reading (Horvitz and Thompson's estimator). The
    mean of a stratum of k includes the rollout itself, which is corrected by k / (k - 1). Strata of one say nothing, and so
    do memories with p of 0 or 1.
    """
    strata: defaultdict[tuple[str, bool], list[Seen]] = defaultdict(list)
    for each in seen:
        strata[each.stratum].append(each)
    found: dict[str, Evidence] = defaultdict(Evidence)
    for (_, correct), rollouts in strata.items():
        k = len(rollouts)
        if k < 2:
            continue
        mean = sum(r.gain for r in rollouts) / k
        for r in rollouts:
            signed = (r.gain - mean) * (1 if correct else -1) * k / (k - 1)
            for names, sign in ((r.shown, 1), (r.hidden, -1)):
                for name, p in names.items():
                    if 0 < p < 1:
                        value = sign * signed / (p if sign > 0 else 1 - p)
                        found[name] = found[name].plus(Evidence(1, value, value * value))
    return dict(found)


class Standings:
    """All memories' standing after the ledger's newest record."""

    def __init__(self, records: Mapping[int, Mapping[str, Any]], half_life: float = math.inf) -> None:
        """`half_life`: steps after which an observation counts half, because the policy that reads has changed."""
        self.now = max(records, default=-1)
        self._evidence: dict[str, Evidence] = {}
        self._states: dict[str, tuple[State, str, int]] = {}
        self._uses: defaultdict[str, int] = defaultdict(int)
        self.passed: dict[str, tuple[int, float]] = {}
        """Problem id -> the last step that practised it, and the share of its rollouts that were correct."""
        for step, record in records.items():
            weight = 0.5 ** ((self.now - step) / half_life)
            for name, sums in record.get("lift", {}).items():
                self._evidence[name] = self.of(name).plus(Evidence(*sums), weight)
            for name, (state, why) in record.get("states", {}).items():
                self._states[name] = (state, why, step)
            for name, count in record.get("uses", {}).items():
                self._uses[name] += count
            for problem, rate in record.get("passed", {}).items():
                self.passed[problem] = (step, rate)

    def of(self, name: str) -> Evidence:
        """What is known of a memory, or of a tier as `tier:NAME`."""
        return self._evidence.get(name, Evidence())

    def state(self, entry_id: str) -> State:
        """Whether it is read."""
        return self._states[entry_id][0] if entry_id in self._states else "live"

    def why(self, entry_id: str) -> str:
        """Why its state last changed, and when; empty where it never did."""
        if entry_id not in self._states:
            return ""
        _, why, step = self._states[entry_id]
        return f"{why} (step {step})"

    def uses(self, entry_id: str) -> int:
        """How many rollouts' teachers have read it."""
        return self._uses.get(entry_id, 0)

    def not_live(self) -> set[str]:
        """Ids that are quarantined or retired."""
        return {name for name, (state, *_) in self._states.items() if state != "live"}

    def measured(self) -> Sequence[str]:
        """All names of which anything was observed."""
        return list(self._evidence)

    def ids(self, state: State) -> Collection[str]:
        """Of that state, which they were given."""
        return {name for name, (found, *_) in self._states.items() if found == state}
