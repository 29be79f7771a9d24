"""How long a run will still take, from the steps that it has made.

What a stage takes is not the same in every step: behaviors are written every so many steps, and validation is measured. So
each of these has two figures, for steps at which it is due and for others, and the steps to come are counted. What was
never seen yet is worked out of what the base's evaluation took. The first step after a start is left out where there are
others: programs are compiled in it, and caches are empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pmd_agent.stages.parts import Metrics, Parts, reads_memory
from pmd_agent.stages.parts import due as is_due

WINDOW = 32
"""Steps that are looked back on: answers grow shorter or longer as a run goes on."""


def time_left(parts: Parts, m: Metrics, base: Mapping[str, Any] | None) -> float | None:
    """Seconds from the end of this step to that of the run. `base`: what its evaluation found and took."""
    recipe = parts.recipe
    arms = 2 if reads_memory(parts) else 1
    answer = _seconds_an_answer(base)
    samples = recipe.evaluate.validation_samples or recipe.evaluate.samples
    return left(
        [*parts.history, m.record()][-WINDOW:],
        range(m.step + 1, parts.steps),
        first=parts.first_step,
        every={
            "evaluate": recipe.evaluate.every if parts.validation else 0,
            "generalise": recipe.pipeline.every,
            "optimise": recipe.pipeline.optimise.every,
        },
        unseen={"evaluate": answer * len(parts.validation) * samples * arms},
        after=arms * float((base or {}).get("seconds") or 0.0),
    )


def left(
    records: Sequence[Mapping[str, Any]],
    to_come: range,
    *,
    first: int,
    every: Mapping[str, int],
    unseen: Mapping[str, float],
    after: float,
) -> float | None:
    """Of the steps to come and of what comes `after` them. `records`: metrics of steps; `every`: stage -> how often it is due.

    `unseen`: what a stage is thought to take when it is due, as long as no step shows it.
    """
    warm = [r for r in records if r["step"] != first] or list(records)
    if not warm:
        return None
    seconds = after
    for name in {name for r in warm for name in r["stage_seconds"]} | set(unseen):
        often = every.get(name, 0)
        times: dict[bool, list[float]] = {True: [], False: []}
        for r in warm:
            times[is_due(often, r["step"])].append(float(r["stage_seconds"].get(name, 0.0)))
        usual = _mean(times[False]) if times[False] else _mean(times[True])
        at_due = _mean(times[True]) if times[True] else max(usual, unseen.get(name, 0.0))
        due = sum(is_due(often, step) for step in to_come)
        seconds += due * at_due + (len(to_come) - due) * usual
    return seconds


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _seconds_an_answer(base: Mapping[str, Any] | None) -> float:
    answers = (base or {}).get("problems", 0) * (base or {}).get("k", 0)
    return float((base or {}).get("seconds") or 0.0) / answers if answers else 0.0
