"""Attempts at problems, whatever an attempt is: one answer, or an episode with the problem's environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pmd_agent.distillation.teacher_page import Messages, student_messages
from pmd_agent.episodes import Job, Limits, Played, play_all
from pmd_agent.policies.base import seed_of
from pmd_agent.stages.parts import Parts
from pmd_agent.transcript import transcript
from pmd_agent.types import Completion, Problem, Rollout, Sampling, Verdict
from pmd_agent.verifiers import Verified, verify_all

Prompt = Callable[[Problem, Messages], Messages]
"""What the policy reads of a problem, given the messages with which its environment opened (none: the problem's own)."""


Complete = Callable[[int, list[Rollout]], None]
"""Told the place of a problem in the batch, and all attempts at it."""


def plain(problem: Problem, opening: Messages) -> Messages:
    """No memory."""
    return opening or student_messages(problem)


def rollouts_of(
    parts: Parts,
    problems_P: Sequence[Problem],
    n: int,
    sampling: Sampling,
    *,
    name: str,
    prompt: Prompt = plain,
    complete: Complete | None = None,
) -> list[list[Rollout]]:
    """n attempts at each problem. `name` leads their ids.

    `complete` is told of each problem whose attempts are all there while others are still being made, where the policy serves.
    """
    if parts.environments is None:
        return _answers(parts, problems_P, n, sampling, name, prompt, complete)
    return _episodes(parts, problems_P, n, sampling, name, prompt, complete)


def _answers(
    parts: Parts,
    problems_P: Sequence[Problem],
    n: int,
    sampling: Sampling,
    name: str,
    prompt: Prompt,
    complete: Complete | None,
) -> list[list[Rollout]]:
    def group(p: int, completions_G: Sequence[Completion]) -> list[Rollout]:
        return [_answer(f"{name}/{problems_P[p].id}/{g}", problems_P[p], c) for g, c in enumerate(completions_G)]

    def arrived(p: int, completions_G: Sequence[Completion]) -> None:
        if complete is not None:
            complete(p, group(p, completions_G))

    asked = [prompt(p, []) for p in problems_P]
    completions_PG = parts.policy.sample(asked, n, sampling, arrived if complete is not None else None)
    return [group(p, completions_G) for p, completions_G in enumerate(completions_PG)]


def _episodes(
    parts: Parts,
    problems_P: Sequence[Problem],
    n: int,
    sampling: Sampling,
    name: str,
    prompt: Prompt,
    complete: Complete | None,
) -> list[list[Rollout]]:
    def group(p: int, played_G: Sequence[Played]) -> list[Rollout]:
        return [_episode(f"{name}/{problems_P[p].id}/{g}", problems_P[p], each) for g, each in enumerate(played_G)]

    ended: dict[int, Played] = {}

    def over(place: int, played: Played) -> None:
        ended[place] = played
        places = range(place // n * n, place // n * n + n)
        if complete is not None and all(each in ended for each in places):
            complete(place // n, group(place // n, [ended[each] for each in places]))

    jobs = [
        Job(problem, parts.environments, partial(seed_of, sampling, p, g))
        for p, problem in enumerate(problems_P)
        for g in range(n)
        if parts.environments is not None
    ]
    told = over if complete is not None and parts.policy.serves else None
    played = play_all(parts.policy, jobs, sampling, limits_of(parts), prompt, told)
    return [group(p, played[p * n : (p + 1) * n]) for p in range(len(problems_P))]


def verified(parts: Parts, problems_P: Sequence[Problem], rollouts_PG: Sequence[Sequence[Rollout]]) -> Verified:
    """Their verdicts: the environment's where it gave one, else the verifier's."""
    replies_PG = [[r.reply for r in group] for group in rollouts_PG]
    return verify_all(parts.verifier, problems_P, replies_PG, known_PG=[[r.outcome for r in g] for g in rollouts_PG])


def limits_of(parts: Parts) -> Limits:
    """As the recipe says."""
    rollout = parts.recipe.rollout
    episode = rollout.episode
    return Limits(
        turns=episode.turns,
        tokens=episode.tokens,
        context=parts.context,
        prompt_tokens=rollout.max_prompt_tokens,
        observation_chars=episode.observation_chars,
        seconds=episode.seconds,
        at_once=episode.at_once,
        threshold=rollout.success_threshold,
    )


def _answer(name: str, problem: Problem, c: Completion) -> Rollout:
    return Rollout(
        id=name,
        problem_id=problem.id,
        prompt_ids=c.prompt_ids,
        completion_ids=c.completion_ids,
        written=(True,) * len(c.completion_ids),
        logprobs=c.logprobs,
        text=c.text,
        finish_reason=c.finish_reason,
        policy_version=c.policy_version,
    )


def _episode(name: str, problem: Problem, played: Played) -> Rollout:
    return Rollout(
        id=name,
        problem_id=problem.id,
        prompt_ids=played.prompt_ids,
        completion_ids=played.completion_ids,
        written=played.written,
        logprobs=played.logprobs,
        text=transcript(played.turns),
        finish_reason=played.finish_reason,
        policy_version=played.policy_version,
        turns=played.turns,
        opening=played.opening,
        account=played.account,
        outcome=played.outcome,
    )


def episode_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Of those that are episodes: replies of each on average, and environments that failed."""
    episodes = [r for r in rollouts if r.turns or r.outcome is not None]
    if not episodes:
        return {}
    replies = sum(turn.role == "assistant" for r in episodes for turn in r.turns)
    return {"turns": replies / len(episodes), "episodes_failed": sum(map(_failed, episodes))}


def _failed(rollout: Rollout) -> bool:
    verdict: Verdict | None = rollout.outcome
    return verdict is not None and verdict.reward is None
