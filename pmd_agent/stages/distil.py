"""Memory becomes weights: distil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pmd_agent.distillation.choose_examples import choose_examples, example_of
from pmd_agent.distillation.token_gains import Gains, pieces
from pmd_agent.evaluation.diagnostics import spent
from pmd_agent.memory import Sums, worth
from pmd_agent.stages.parts import Metrics, Parts, stage
from pmd_agent.stages.teacher_prompts import TeacherPrompts, Trial
from pmd_agent.types import Rollout, Verdict

if TYPE_CHECKING:
    from pmd_agent.distillation.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a step of distillation showed of rollouts and of memories."""

    gains: dict[str, float] = field(default_factory=dict)
    """Rollout id -> how much more its teacher believed in it than the student, nats per token."""
    effects: dict[str, Sums] = field(default_factory=dict)
    """Memory id -> what its trials showed."""
    token_gains: dict[str, list[tuple[str, float | None]]] = field(default_factory=dict)
    """Rollout id -> the text of each of its tokens, and the gain there; of a few (distill.show_tokens)."""


@stage
def distil(
    parts: Parts,
    m: Metrics,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    prompts: TeacherPrompts,
) -> Learnt:
    """The student's own rollouts, taught token by token by the teacher that reads memory, or reinforced (GRPO)."""
    chosen = choose_examples(parts.recipe, rollouts_PG, verdicts_PG, prompts.teaching)
    m.values |= chosen.metrics()
    if parts.trainer is None:
        return Learnt()
    if spent([row.get("teacher_gain") for row in parts.history], parts.recipe.distill.gain_patience):
        m.values["distillation_ended"] = 1.0
        return Learnt()
    with parts.policy.resting():
        for name, control in prompts.controls.items():
            compared = choose_examples(parts.recipe, rollouts_PG, verdicts_PG, control).distilled
            if (gain := parts.trainer.gain(compared)) is not None:
                m.values[f"teacher_gain_{name}"] = gain
        effects = tried(parts.trainer, prompts.trials) if prompts.trials else {}
        m.values |= parts.trainer.step(chosen.examples, rollouts=chosen.rollouts)
    return Learnt(parts.trainer.gains, effects, _by_token(parts, parts.trainer.token_gains, rollouts_PG))


def _by_token(
    parts: Parts, gains: Mapping[str, Gains], rollouts_PG: Sequence[Sequence[Rollout]]
) -> dict[str, list[tuple[str, float | None]]]:
    shown = [r for rollouts in rollouts_PG for r in rollouts if r.id in gains]
    texts = [pieces(r.completion_ids[: len(gains[r.id])], parts.policy.decode) for r in shown]
    return {r.id: list(zip(text, gains[r.id], strict=True)) for r, text in zip(shown, texts, strict=True)}


def tried(trainer: Trainer, trials: Sequence[Trial]) -> dict[str, Sums]:
    """Memory id -> what its trials showed: how much likelier each makes the correct rollouts. Nothing is learnt."""
    examples = {}
    pairs = []
    for trial in trials:
        names = f"{trial.rollout.id} {trial.memory_id}", trial.rollout.id
        for name, prompt in zip(names, (trial.alone, trial.bare), strict=True):
            examples[name] = example_of(trial.rollout, trial.verdict, prompt.ids or (), name=name)
        pairs.append((trial.memory_id, *names))
    ratios = trainer.log_ratios(list(examples.values()))
    sums: dict[str, Sums] = {}
    for memory_id, alone, bare in pairs:
        if alone in ratios and bare in ratios:
            sums[memory_id] = sums.get(memory_id, Sums()).plus(worth(ratios[alone] - ratios[bare]))
    return sums
