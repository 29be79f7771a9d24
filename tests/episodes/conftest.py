"""Playing episodes with a scripted policy, or another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.environment import environments_from
from pmd_agent.episodes import Job, Limits, Played, play_all
from pmd_agent.policies import Policy
from pmd_agent.policies.base import seed_of
from pmd_agent.types import Problem, Sampling

LIMITS = Limits(
    turns=8,
    tokens=4096,
    context=8192,
    prompt_tokens=512,
    observation_chars=400,
    seconds=1.0,
    at_once=256,
    threshold=0.5,
)
PROBLEM = Problem("p/0", "2 + 2?", "4")
Play = Callable[..., list[Played]]


@pytest.fixture
def play() -> Play:
    def play_with(
        policy: Policy,
        makers: Sequence[Any],
        sampling: Sampling | None = None,
        problem: Problem = PROBLEM,
        **limits: Any,
    ) -> list[Played]:
        sampling = sampling or Sampling(max_tokens=64)
        jobs = [
            Job(problem, environments_from(make, "it"), partial(seed_of, sampling, 0, g))
            for g, make in enumerate(makers)
        ]
        return play_all(
            policy, jobs, sampling, replace(LIMITS, **limits), lambda p, opening: opening or student_messages(p)
        )

    return play_with
