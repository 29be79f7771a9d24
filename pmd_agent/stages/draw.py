"""Which memories a teacher leaves out, at random, so that their effect can be measured inside an ordinary step.

Each rollout has a draw of its own. What the trainer finds the teachers to believe then goes into memory/effects.py.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pmd_agent.memory.effects import Evidence, Seen, Sums, observations
from pmd_agent.types import TIERS, Behavior, Insight, Rollout, TeacherContext, Verdict


@dataclass(frozen=True, slots=True)
class Draw:
    """One rollout's teacher context after the draw, and the probability with which each memory was in it."""

    context: TeacherContext
    shown: Mapping[str, float] = field(default_factory=dict)
    hidden: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Teaching:
    """What the step's teachers read, by rollout."""

    read: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids in the prompt."""
    draws: dict[str, Draw] = field(default_factory=dict)
    gains: dict[str, float] = field(default_factory=dict)
    """The teacher's log-probability of the rollout less the student's, nats per token."""
    tried: dict[str, Sums] = field(default_factory=dict)
    """Memory id -> what its trials of this step showed (trials.py)."""

    def uses(self) -> dict[str, int]:
        """Memory id -> the number of rollouts that it taught."""
        found: dict[str, int] = {}
        for ids in self.read.values():
            for entry_id in ids:
                found[entry_id] = found.get(entry_id, 0) + 1
        return found

    def observed(
        self, rollouts_PG: Sequence[Sequence[Rollout]], verdicts_PG: Sequence[Sequence[Verdict]]
    ) -> dict[str, Evidence]:
        """Evidence of this step: what offering each memory did. One that was drawn counts also where the budget dropped it.

        Otherwise it would be seen only in such contexts as leave room for it, which are poorer ones, and look harmful.
        """
        seen = []
        for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True):
            for rollout, verdict in zip(rollouts_G, verdicts_G, strict=True):
                draw, gain = self.draws.get(rollout.id), self.gains.get(rollout.id)
                if draw is None or gain is None or verdict.correct is None:
                    continue
                seen.append(Seen(rollout.problem_id, verdict.correct, gain, draw.shown, draw.hidden))
        return observations(seen)


def draw(
    context: TeacherContext,
    probation: Sequence[tuple[Behavior | Insight, float]],
    *,
    leave_out: float,
    leave_out_tier: float,
    seed: str,
) -> Draw:
    """Leaves whole tiers out with `leave_out_tier`, each remaining insight and behavior with `leave_out`.

    Each of `probation`, which are quarantined or on trial, is read with the probability beside it. Feedback always stays.
    """
    rng = random.Random(seed)
    shown: dict[str, float] = {}
    hidden: dict[str, float] = {}

    def stays(name: str, p: float) -> bool:
        inside = rng.random() < p
        if 0 < p < 1:
            (shown if inside else hidden)[name] = p
        return inside

    holds = {
        "behavior": context.behaviors,
        "insight": context.strategies + context.lessons,
        "experience": context.demonstrations,
    }
    # In a fixed order, and drawn whether or not there is anything: draws do not depend on what was found.
    on = {tier: stays(f"tier:{tier}", 1 - leave_out_tier) for tier in TIERS}
    for tier in TIERS:
        if not holds[tier]:
            shown.pop(f"tier:{tier}", None)
            hidden.pop(f"tier:{tier}", None)
    again = [e for e, p in probation if on["behavior" if isinstance(e, Behavior) else "insight"] and stays(e.id, p)]
    behaviors = [b for b in context.behaviors if on["behavior"] and stays(b.id, 1 - leave_out)]
    insights = [i for i in context.strategies + context.lessons if on["insight"] and stays(i.id, 1 - leave_out)]
    insights += [i for i in again if isinstance(i, Insight)]
    drawn = replace(
        context,
        behaviors=(*behaviors, *(b for b in again if isinstance(b, Behavior))),
        strategies=tuple(i for i in insights if i.kind == "strategy"),
        lessons=tuple(i for i in insights if i.kind == "lesson"),
        demonstrations=context.demonstrations if on["experience"] else (),
    )
    return Draw(drawn, shown, hidden)
