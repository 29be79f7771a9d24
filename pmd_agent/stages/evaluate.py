"""What the policy can do: evaluate."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.evaluation.scores import Outcome, score
from pmd_agent.stages.parts import Metrics, Parts, nothing_checked, seed_for, stage
from pmd_agent.stages.recall import contexts_for
from pmd_agent.stages.teacher_prompts import page_within
from pmd_agent.types import Problem, Sampling
from pmd_agent.verifiers import verify_all


@stage
def evaluate(
    parts: Parts, m: Metrics, problems: Sequence[Problem], with_memory: bool, samples: int | None = None
) -> list[Outcome]:
    """Fresh rollouts of the problems, memory-free or with memory in the prompt. Nothing is learnt from them.

    `samples` of each; None: as many as the recipe says.
    """
    settings = parts.recipe.evaluate
    if with_memory:
        contexts = contexts_for(parts, problems, [[] for _ in problems])
        prompts = [
            page_within(parts, context, None, parts.context - parts.recipe.rollout.max_tokens).messages
            for context in contexts
        ]
    else:
        prompts = [student_messages(p) for p in problems]
    # The same seed each time: differences between evaluations are not differences between draws.
    sampling = Sampling(
        settings.temperature, settings.top_p, parts.recipe.rollout.max_tokens, seed_for(parts.recipe, 0, 3)
    )
    completions_PG = parts.policy.sample(prompts, samples or settings.samples, sampling)
    texts_PG = [[c.text for c in group] for group in completions_PG]
    verified = verify_all(parts.verifier, problems, texts_PG)
    if verified.unchecked and all(v.reward is None for group in verified.verdicts_PG for v in group):
        raise nothing_checked(verified)
    return score(problems, verified.verdicts_PG, texts_PG, votes=getattr(parts.verifier, "votes", True))
