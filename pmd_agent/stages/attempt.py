"""The policy tries, the verifier judges, and both are kept: attempt, verify, remember."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.distillation.teacher_prompt import student_messages
from pmd_agent.evaluation.gauges import writing
from pmd_agent.stages.parts import Metrics, Parts, frozen, nothing_checked, seed_for, stage
from pmd_agent.types import Experience, Problem, Rollout, Sampling, Verdict
from pmd_agent.verifiers import verify_all


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


@stage
def verify(
    parts: Parts, m: Metrics, problems_P: Sequence[Problem], rollouts_PG: Sequence[Sequence[Rollout]]
) -> list[list[Verdict]]:
    """A reward for every rollout, None where it could not be checked."""
    verified = verify_all(parts.verifier, problems_P, [[r.text for r in group] for group in rollouts_PG])
    checked = [v for group in verified.verdicts_PG for v in group if v.reward is not None]
    m.values["unchecked"] = verified.unchecked
    if not checked:
        raise nothing_checked(verified)
    m.values["reward"] = sum(v.reward or 0.0 for v in checked) / len(checked)
    m.values["correct"] = sum(bool(v.correct) for v in checked) / len(checked)
    m.values["solved_groups"] = sum(any(v.correct for v in group) for group in verified.verdicts_PG) / len(problems_P)
    return verified.verdicts_PG


@stage
def remember(
    parts: Parts, m: Metrics, rollouts_PG: Sequence[Sequence[Rollout]], verdicts_PG: Sequence[Sequence[Verdict]]
) -> list[list[Experience]]:
    """Every checked rollout, with its verdict, into experience memory."""
    experiences_PG = [
        [
            Experience(
                id=r.id,
                problem_id=r.problem_id,
                text=r.text,
                reward=v.reward,
                correct=bool(v.correct),
                feedback=v.feedback,
                answer=v.answer,
                step=m.step,
                policy_version=r.policy_version,
            )
            for r, v in zip(rollouts_G, verdicts_G, strict=True)
            if v.reward is not None
        ]
        for rollouts_G, verdicts_G in zip(rollouts_PG, verdicts_PG, strict=True)
    ]
    if not frozen(parts, m.step):
        parts.memory.add_experiences([e for group in experiences_PG for e in group])
    return experiences_PG
