"""What the policy can do: evaluate."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.distillation.teacher_page import Messages
from pmd_agent.evaluation.scores import Outcome, score
from pmd_agent.stages.parts import Metrics, Parts, nothing_checked, seed_for, stage
from pmd_agent.stages.recall import contexts_for
from pmd_agent.stages.rollouts import Prompt, plain, rollouts_of
from pmd_agent.stages.rollouts import verified as verified_by
from pmd_agent.stages.teacher_prompts import page_within, room_for_attempt
from pmd_agent.types import Problem, Sampling


@stage
def evaluate(
    parts: Parts, m: Metrics, problems: Sequence[Problem], with_memory: bool, samples: int | None = None
) -> list[Outcome]:
    """Fresh rollouts of the problems, memory-free or with memory in the prompt. Nothing is learnt from them.

    `samples` of each; None: as many as the recipe says.
    """
    settings = parts.recipe.evaluate
    if not problems:
        return []
    # The same seed each time: differences between evaluations are not differences between draws.
    sampling = Sampling(
        settings.temperature, settings.top_p, parts.recipe.rollout.max_tokens, seed_for(parts.recipe, 0, 3)
    )
    prompt = _with_memory(parts, problems) if with_memory else plain
    rollouts_PG = rollouts_of(parts, problems, samples or settings.samples, sampling, name="evaluation", prompt=prompt)
    verified = verified_by(parts, problems, rollouts_PG)
    if verified.unchecked and all(v.reward is None for group in verified.verdicts_PG for v in group):
        raise nothing_checked(verified)
    texts_PG = [[r.text for r in group] for group in rollouts_PG]
    return score(problems, verified.verdicts_PG, texts_PG, votes=getattr(parts.verifier, "votes", True))


def _with_memory(parts: Parts, problems: Sequence[Problem]) -> Prompt:
    """What memory holds of each problem before it, as teachers read it; of an episode, at its start."""
    contexts = dict(zip((p.id for p in problems), contexts_for(parts, problems, [[] for _ in problems]), strict=True))
    left = parts.context - room_for_attempt(parts)

    def prompt(problem: Problem, opening: Messages) -> Messages:
        return page_within(parts, contexts[problem.id], None, left, opening).messages

    return prompt
