"""The policy tries each problem, without memory: attempt."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.evaluation.diagnostics import writing
from pmd_agent.stages.parts import Metrics, Parts, seed_for, stage
from pmd_agent.types import Problem, Rollout, Sampling


@stage
def attempt(parts: Parts, m: Metrics, problems_P: Sequence[Problem]) -> list[list[Rollout]]:
    """J rollouts of every problem from the plain prompt: no memory."""
    settings = parts.recipe.rollout
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, seed_for(parts.recipe, m.step, 0))
    completions_PG = parts.policy.sample([student_messages(p) for p in problems_P], settings.samples, sampling)
    rollouts_PG = [
        [
            Rollout(
                id=f"{parts.prefix}{m.step}/{problem.id}/{g}",
                problem_id=problem.id,
                prompt_ids=c.prompt_ids,
                completion_ids=c.completion_ids,
                written=(True,) * len(c.completion_ids),
                logprobs=c.logprobs,
                text=c.text,
                finish_reason=c.finish_reason,
                policy_version=c.policy_version,
            )
            for g, c in enumerate(completions_G)
        ]
        for problem, completions_G in zip(problems_P, completions_PG, strict=True)
    ]
    flat = [r for group in rollouts_PG for r in group]
    m.values["rollouts"] = len(flat)
    m.values["response_tokens"] = sum(len(r.completion_ids) for r in flat) / len(flat)
    m.values["truncated"] = sum(r.finish_reason == "length" for r in flat) / len(flat)
    m.values |= writing([r.text for r in flat])
    return rollouts_PG
