"""Memory becomes weights: distil, sync."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.distillation.examples import choose_examples, control_contexts, tier_contexts, without_problem
from pmd_agent.distillation.teacher_prompt import Reading
from pmd_agent.evaluation.gauges import spent
from pmd_agent.memory import Recalled
from pmd_agent.stages.draw import Draw, Teaching, draw
from pmd_agent.stages.parts import Metrics, Parts, due, seed_for, stage
from pmd_agent.stages.recall import read_within
from pmd_agent.stages.trials import planned
from pmd_agent.types import Rollout, TeacherContext, Verdict

if TYPE_CHECKING:
    from pmd_agent.distillation.trainer import Trainer


@stage
def distil(
    parts: Parts,
    m: Metrics,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    recalled_P: Sequence[Recalled],
) -> Teaching:
    """The student's own rollouts, taught token by token by the teacher that reads memory, or reinforced (GRPO).

    Returns what taught. Each rollout's teacher may leave out memories at random, or each is tried alone, to measure what
    they do (`memory.lift`).
    """
    teaching = Teaching()
    contexts_P = [each.context for each in recalled_P]
    recalled = {each.context.problem.id: each for each in recalled_P}

    def prompt_within(context: TeacherContext, rollout: Rollout) -> tuple[Reading, list[int] | None]:
        room = parts.context - len(rollout.completion_ids)
        reading = read_within(parts, context, rollout.id, room)
        prompt = parts.policy.encode(reading.messages)
        return reading, prompt if len(prompt) <= room else None

    def prompt_of(context: TeacherContext, rollout: Rollout) -> tuple[list[int] | None, bool]:
        drawn = drawn_for(parts, m.step, context, recalled[rollout.problem_id], rollout)
        reading, prompt = prompt_within(drawn.context, rollout)
        teaching.draws[rollout.id], teaching.read[rollout.id] = drawn, reading.read
        return prompt, _reads(reading, context)

    def control_prompt_of(context: TeacherContext, rollout: Rollout) -> tuple[list[int] | None, bool]:
        reading, prompt = prompt_within(context, rollout)
        return prompt, _reads(reading, context)

    def trial_prompt_of(context: TeacherContext, rollout: Rollout) -> list[int] | None:
        reading, prompt = prompt_within(context, rollout)
        return None if reading.dropped else prompt  # what did not fit was not tried

    settings = parts.recipe.distill
    taught_P = contexts_P if settings.teacher.reads_problem else [without_problem(c) for c in contexts_P]
    chosen = choose_examples(parts.recipe, rollouts_PG, verdicts_PG, taught_P, prompt_of)
    m.values |= chosen.metrics()
    if parts.trainer is None:
        return teaching
    if spent([row.get("teacher_gain") for row in parts.history], settings.gain_patience):
        m.values["distillation_ended"] = 1.0
        return teaching
    with parts.policy.resting():
        others = control_contexts(contexts_P) if due(settings.controls_every, m.step) else {}
        if due(settings.tier_gains_every, m.step):
            others |= tier_contexts(contexts_P, parts.recipe.memory.tiers)
        for name, others_P in others.items():
            control = choose_examples(parts.recipe, rollouts_PG, verdicts_PG, others_P, control_prompt_of)
            if (gain := parts.trainer.gain([e for e in control.examples if e.advantage is None])) is not None:
                m.values[f"teacher_gain_{name}"] = gain
        if limit := parts.recipe.memory.lift.trial:
            trials = planned(recalled_P, rollouts_PG, verdicts_PG, trial_prompt_of, limit)
            teaching.tried = trials.found(parts.trainer.log_ratios(trials.examples)) if trials.examples else {}
        m.values |= parts.trainer.step(chosen.examples)
    teaching.gains = parts.trainer.gains
    return teaching


def _reads(reading: Reading, context: TeacherContext) -> bool:
    """Whether the teacher's page has more on it than the problem: a draw, or the budget, may have left nothing."""
    return reading.messages[-1]["content"] != context.problem.prompt


def drawn_for(parts: Parts, step: int, context: TeacherContext, recalled: Recalled, rollout: Rollout) -> Draw:
    """What one rollout's teacher reads: all of the context where nothing is left to chance."""
    settings = parts.recipe.memory.lift
    if not (settings.leave_out or settings.leave_out_tier or settings.share_on_trial):
        return Draw(context)
    return draw(
        context,
        [(e, settings.share_quarantined) for e in recalled.quarantined]
        + [(e, settings.share_on_trial) for e in recalled.on_trial],
        leave_out=settings.leave_out,
        leave_out_tier=settings.leave_out_tier,
        seed=f"{seed_for(parts.recipe, step, 5)} {rollout.id}",
    )


@stage
def sync(parts: Parts, m: Metrics, folder: Path) -> None:
    """The weights just trained become the policy's. A policy elsewhere gets every version under a name of its own."""
    if parts.trainer is None:
        return
    version = m.step + 1
    if parts.policy.shares_weights:
        parts.policy.load(None, version)
    else:
        adapter = publish_adapter(parts.trainer, folder, version)
        parts.policy.load(adapter, version)
        for old in folder.glob("v*"):
            if old != adapter:
                shutil.rmtree(old)


def publish_adapter(trainer: Trainer, folder: Path, version: int) -> Path:
    """The student's adapter in a folder of its own, whole or not there."""
    adapter = folder / f"v{version:06d}"
    temporary = adapter.with_suffix(".tmp")
    for leftover in (temporary, adapter):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    trainer.save_adapter(temporary)
    return temporary.rename(adapter)
