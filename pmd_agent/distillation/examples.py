"""From a step's rollouts to what the trainer is given: who is taught by the teacher, who is reinforced, who is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.groups import advantages, pass_rate_weight
from pmd_agent.recipe import Recipe
from pmd_agent.types import Rollout, TeacherContext, Tier, Verdict

PromptOf = Callable[[TeacherContext, Rollout], tuple[Sequence[int] | None, bool]]
"""The teacher's prompt, None where not even the bare problem fits beside the rollout; whether that teacher reads anything."""


@dataclass(slots=True)
class Chosen:
    """The examples, and the rollouts counted by what became of them."""

    examples: list[Example] = field(default_factory=list)
    taught: int = 0
    reinforced: int = 0
    without_context: int = 0
    """The teacher reads nothing that the student does not: there is nothing, or a draw left it out."""
    too_long: int = 0

    def metrics(self) -> dict[str, float]:
        to_teach = self.taught + self.without_context + self.too_long
        found: dict[str, float] = {"context_too_long": self.too_long}
        if to_teach or not self.reinforced:
            found["context_fraction"] = self.taught / max(1, to_teach)
        if self.reinforced:
            found["reinforced"] = self.reinforced / (to_teach + self.reinforced)
        return found


def choose_examples(
    recipe: Recipe,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    contexts_P: Sequence[TeacherContext],
    prompt_of: PromptOf,
) -> Chosen:
    """One example a rollout, but for those that were not checked, that wrote nothing, or to whom memory has nothing to say.

    method=grpo reinforces all of them; distill.routing=srpo the correct ones (SRPO, arXiv 2604.02288): their advantage is
    within the whole group, and a failed one without a context is left out, as it is without routing.

    With memory.lift.leave_out, a teacher that happens to read nothing is what the others are compared with, and teaches; with
    memory.lift.trial, also one that there is nothing to read for. Otherwise what the student learns on problems whose
    memories have passed spills over to those whose memories are on trial: it stops guessing there, and with it end the
    correct rollouts on which they are tried.
    """
    chosen = Chosen()
    lift = recipe.memory.lift
    bare_too = bool(lift.trial or lift.leave_out or lift.leave_out_tier)
    for rollouts_G, verdicts_G, context in zip(rollouts_PG, verdicts_PG, contexts_P, strict=True):
        checked_G = [
            (r, v.reward, bool(v.correct))
            for r, v in zip(rollouts_G, verdicts_G, strict=True)
            if v.reward is not None and any(r.written)
        ]
        advantage_G = advantages([reward for _, reward, _ in checked_G])
        weighted = recipe.distill.weighting == "pass_rate"
        weight = pass_rate_weight([correct for _, _, correct in checked_G]) if weighted else 1.0
        for (rollout, _, correct), advantage in zip(checked_G, advantage_G, strict=True):
            if recipe.method == "grpo" or (recipe.distill.routing == "srpo" and correct):
                chosen.reinforced += 1
                chosen.examples.append(_example(rollout, (), correct, weight, advantage))
            elif context.is_empty_for(rollout.id) and not lift.trial:
                chosen.without_context += 1
            else:
                prompt, reads = prompt_of(context, rollout)
                if prompt is None:
                    chosen.too_long += 1
                    continue
                chosen.taught += reads
                chosen.without_context += not reads
                if not (reads or bare_too):
                    continue
                chosen.examples.append(_example(rollout, prompt, correct, weight, None))
    return chosen


def control_contexts(contexts_P: Sequence[TeacherContext]) -> dict[str, list[TeacherContext]]:
    """What teachers read that should gain less than the real one.

    `shuffled`: the problem with the next problem's memory: a gain as large shows that it is not what the memory says that
    helps. `reference_only`: the memory without the problem: a gain as large shows a memory that gives the answer away.
    """
    found = {"reference_only": [without_problem(c) for c in contexts_P]}
    if len(contexts_P) > 1:
        others_P = [*contexts_P[1:], *contexts_P[:1]]
        found["shuffled"] = [
            replace(other, problem=c.problem, feedback={}) for c, other in zip(contexts_P, others_P, strict=True)
        ]
    return found


def without_problem(context: TeacherContext) -> TeacherContext:
    """The memory, read beside nothing."""
    return replace(context, problem=replace(context.problem, prompt=""))


def tier_contexts(contexts_P: Sequence[TeacherContext], tiers: Sequence[Tier]) -> dict[str, list[TeacherContext]]:
    """What teachers read that are shown one of these tiers alone.

    experience: the demonstration and the feedback, this batch's (SDPO's context) among them; insight: strategies and lessons;
    behavior: behaviors.
    """
    of: dict[Tier, Callable[[TeacherContext], TeacherContext]] = {
        "experience": lambda c: replace(c, behaviors=(), strategies=(), lessons=()),
        "insight": lambda c: replace(c, behaviors=(), demonstrations=(), feedback={}),
        "behavior": lambda c: replace(c, strategies=(), lessons=(), demonstrations=(), feedback={}),
    }
    return {tier: [of[tier](c) for c in contexts_P] for tier in tiers}


def _example(
    rollout: Rollout, teacher_prompt: Sequence[int], correct: bool, weight: float, advantage: float | None
) -> Example:
    return Example(
        student_prompt_ids=rollout.prompt_ids,
        teacher_prompt_ids=tuple(teacher_prompt),
        completion_ids=rollout.completion_ids,
        written=rollout.written,
        logprobs=rollout.logprobs,
        correct=correct,
        weight=weight,
        advantage=advantage,
        id=rollout.id,
    )
