"""From a step's rollouts, and what their teachers read, to what the trainer is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.groups import advantages, pass_rate_weight
from pmd_agent.recipe import Recipe
from pmd_agent.types import Rollout, Verdict


@dataclass(frozen=True, slots=True)
class TeacherPrompt:
    """What one rollout's teacher reads before the rollout, in place of the student's prompt."""

    ids: tuple[int, ...] | None
    """(T_prompt,) chat template applied; None where not even the bare problem fits beside the rollout."""
    informed: bool = True
    """Whether it reads anything that the student does not."""
    shown: tuple[str, ...] = ()
    """Ids of the memories in it."""
    dropped: tuple[str, ...] = ()
    """Ids of those that did not fit the budget."""
    demonstration_cut: bool = False


Prompts = Mapping[str, TeacherPrompt]
"""Rollout id -> its teacher's prompt; without an entry there is nothing to read for it."""


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
        """Shares of the rollouts, in [0, 1]; `context_too_long` is a count."""
        to_teach = self.taught + self.without_context + self.too_long
        found: dict[str, float] = {"context_too_long": self.too_long}
        if to_teach or not self.reinforced:
            found["context_fraction"] = self.taught / max(1, to_teach)
        if self.reinforced:
            found["reinforced"] = self.reinforced / (to_teach + self.reinforced)
        return found

    @property
    def rollouts(self) -> int:
        """All that were checked and wrote something, whatever became of them."""
        return self.taught + self.reinforced + self.without_context + self.too_long

    @property
    def distilled(self) -> list[Example]:
        """Those that have a teacher."""
        return [example for example in self.examples if example.advantage is None]


def has_teacher(recipe: Recipe, rollout: Rollout, verdict: Verdict) -> bool:
    """Whether a teacher supervises the rollout: it was checked (or nothing checks any), wrote something, and is not reinforced.

    method=grpo reinforces all of them; distill.routing=srpo the correct ones (SRPO, arXiv 2604.02288).
    """
    return _counts(recipe, rollout, verdict) and not _reinforced(recipe, verdict)


def choose_examples(
    recipe: Recipe,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    prompts: Prompts,
) -> Chosen:
    """One example a rollout, but for those that were not checked, that wrote nothing, or whose teacher has nothing to say.

    A reinforced rollout's advantage is within its whole group; a failed one without a context is left out, as it is without
    routing. With memory.lift.trial, a teacher that reads nothing teaches, too: it is what the student was. Otherwise what the
    student learns on problems whose memories have passed spills over to those whose memories are on trial: it stops guessing
    there, and with it end the correct rollouts on which they are tried.
    """
    chosen = Chosen()
    for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True):
        group = [(r, v) for r, v in zip(rollouts_G, verdicts_G, strict=True) if _counts(recipe, r, v)]
        weighted = recipe.distill.weighting == "pass_rate"
        weight = pass_rate_weight([bool(v.correct) for _, v in group]) if weighted else 1.0
        normalise = recipe.distill.grpo.normalise
        advantage_G = advantages([v.reward or 0.0 for _, v in group], normalise=normalise)
        for (rollout, verdict), advantage in zip(group, advantage_G, strict=True):
            if _reinforced(recipe, verdict):
                chosen.reinforced += 1
                chosen.examples.append(example_of(rollout, verdict, weight=weight, advantage=advantage))
                continue
            prompt = prompts.get(rollout.id)
            if prompt is not None and prompt.ids is None:
                chosen.too_long += 1
            elif prompt is None or not prompt.informed:
                chosen.without_context += 1
            else:
                chosen.taught += 1
            if prompt is not None and prompt.ids is not None and (prompt.informed or recipe.memory.lift.trial):
                chosen.examples.append(example_of(rollout, verdict, prompt.ids, weight=weight))
    return chosen


def example_of(
    rollout: Rollout,
    verdict: Verdict,
    teacher_prompt_ids: Sequence[int] = (),
    *,
    name: str = "",
    weight: float = 1.0,
    advantage: float | None = None,
) -> Example:
    """The rollout as student and teacher see it; `name` is its id in what the trainer answers, by default the rollout's."""
    return Example(
        student_prompt_ids=rollout.prompt_ids,
        teacher_prompt_ids=tuple(teacher_prompt_ids),
        completion_ids=rollout.completion_ids,
        written=rollout.written,
        logprobs=rollout.logprobs,
        correct=bool(verdict.correct),
        weight=weight,
        advantage=advantage,
        id=name or rollout.id,
    )


def _counts(recipe: Recipe, rollout: Rollout, verdict: Verdict) -> bool:
    return (verdict.reward is not None or not recipe.judged) and any(rollout.written)


def _reinforced(recipe: Recipe, verdict: Verdict) -> bool:
    return recipe.method == "grpo" or (recipe.distill.routing == "srpo" and bool(verdict.correct))
