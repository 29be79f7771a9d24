"""Memories tried alone: what a teacher that reads just one of them thinks of the step's correct rollouts.

Nothing is taught by it, and no rollout is spent. memory/effects.py says what one trial shows (`worth`), memory/trust.py
what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pmd_agent.distillation.example import Example
from pmd_agent.memory import Recalled
from pmd_agent.memory.effects import Sums, worth
from pmd_agent.types import Behavior, Insight, Rollout, TeacherContext, Verdict

PromptOf = Callable[[TeacherContext, Rollout], Sequence[int] | None]
"""The teacher's prompt; None where it does not fit."""


@dataclass(slots=True)
class Trials:
    """What is to be tried in a step."""

    examples: list[Example] = field(default_factory=list)
    pairs: list[tuple[str, str, str]] = field(default_factory=list)
    """(memory id, example that reads it, example that reads nothing)."""

    def found(self, log_ratios: dict[str, float]) -> dict[str, Sums]:
        """Memory id -> what its trials showed, from the trainer's log-ratio of each example."""
        sums: dict[str, Sums] = {}
        for name, read, bare in self.pairs:
            if read in log_ratios and bare in log_ratios:
                sums[name] = sums.get(name, Sums()).plus(worth(log_ratios[read] - log_ratios[bare]))
        return sums


def planned(
    recalled_P: Sequence[Recalled],
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    prompt_of: PromptOf,
    limit: int,
) -> Trials:
    """Every insight and behavior of a problem, read or not, against reading nothing: on its first `limit` correct rollouts."""
    trials = Trials()

    def add(context: TeacherContext, rollout: Rollout) -> str | None:
        if (prompt := prompt_of(context, rollout)) is None:
            return None
        name = str(len(trials.examples))
        trials.examples.append(
            Example(
                rollout.prompt_ids,
                tuple(prompt),
                rollout.completion_ids,
                rollout.written,
                rollout.logprobs,
                correct=True,
                id=name,
            )
        )
        return name

    for recalled, rollouts_G, verdicts_G in zip(recalled_P, rollouts_PG, verdicts_PG, strict=True):
        context = recalled.context
        nothing = TeacherContext(context.problem)
        entries = [*context.behaviors, *context.strategies, *context.lessons, *recalled.on_trial, *recalled.quarantined]
        right_G = [r for r, v in zip(rollouts_G, verdicts_G, strict=True) if v.correct and any(r.written)]
        for rollout in right_G[:limit] if entries else ():
            bare = add(nothing, rollout)
            for entry in entries:
                read = add(alone(nothing, entry), rollout)
                if read is not None and bare is not None:
                    trials.pairs.append((entry.id, read, bare))
    return trials


def alone(nothing: TeacherContext, entry: Behavior | Insight) -> TeacherContext:
    """The context that holds this memory and no other."""
    if isinstance(entry, Behavior):
        return replace(nothing, behaviors=(entry,))
    return replace(nothing, strategies=(entry,)) if entry.kind == "strategy" else replace(nothing, lessons=(entry,))
