"""What reading did goes into the ledger, and decides which memories teach: weigh."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.memory import Rules
from pmd_agent.memory.effects import State
from pmd_agent.stages.distil import Learnt
from pmd_agent.stages.parts import Metrics, Parts, frozen, stage
from pmd_agent.stages.teacher_prompts import TeacherPrompts
from pmd_agent.types import Rollout, Verdict


@stage
def weigh(
    parts: Parts,
    m: Metrics,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    prompts: TeacherPrompts,
    learnt: Learnt,
) -> None:
    """How the memories fared in this step goes into the ledger; the harmful are quarantined, the absorbed retired."""
    settings = parts.recipe.memory
    if not settings.tiers or frozen(parts, m.step):
        return
    passed: dict[str, float] = {}
    for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True):
        if checked := [bool(v.correct) for v in verdicts_G if v.correct is not None]:
            passed[rollouts_G[0].problem_id] = sum(checked) / len(checked)
    tried = {name: [s.n, s.total, s.squares] for name, s in learnt.effects.items()}
    parts.memory.note(m.step, passed=passed, uses=prompts.uses(), **({"tried": tried} if tried else {}))
    parts.memory.judge(m.step, Rules(settings.lift.harmful, bool(settings.lift.trial), settings.lift.absorbed))
    states: tuple[tuple[State, str], ...] = (
        ("trial", "on_trial"),
        ("quarantined", "quarantined"),
        ("retired", "retired"),
    )
    for state, name in states:
        if count := len(parts.memory.in_state(state)):
            m.values[name] = count
