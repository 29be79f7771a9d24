"""Episodes on a server: each request as its episode is ready for it, and exact ids."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.episodes import Job, play_all
from pmd_agent.policies.base import seed_of
from pmd_agent.policies.vllm.policy import VllmPolicy
from pmd_agent.types import Problem, Sampling
from tests.episodes.conftest import LIMITS
from tests.episodes.environments import Echo


@pytest.fixture
def policy(server: Any, tokenizer: Any) -> Iterator[VllmPolicy]:
    made = VllmPolicy(server, tokenizer, context=256, eos_ids=[tokenizer.eos_token_id], in_flight=8, timeout=10.0)
    made.load(None, 0)
    yield made
    made.close()


class Paced(Echo):
    """Every second one takes its time."""

    number = 0

    def __init__(self) -> None:
        super().__init__(3)
        Paced.number += 1
        self.seconds = 0.1 * (Paced.number % 2)

    def act(self, reply: str) -> Any:
        time.sleep(self.seconds)
        self.reward = 1.0
        return super().act("x")


def test_requests_continue_what_was_answered(policy: VllmPolicy, fake: Any) -> None:
    fake.drop = lambda body: bool(time.sleep(0.02))  # under way for so long, and never dropped
    sampling = Sampling(1.0, 1.0, 6, 9)
    problem = Problem("p", "37?")
    jobs = [Job(problem, lambda _: Paced(), partial(seed_of, sampling, 0, g)) for g in range(6)]
    played = play_all(
        policy, jobs, sampling, replace(LIMITS, context=256), lambda p, opening: opening or student_messages(p)
    )
    bodies = [body for path, body in fake.calls if path == "/v1/completions"]
    assert len(bodies) == 18 and all(body["n"] == 1 for body in bodies)
    prompts = {tuple(body["prompt"]) for body in bodies}
    between = policy.between(student_messages(problem), [{"role": "user", "content": "You said x."}], None)
    for each in played:
        ids = each.completion_ids
        assert each.written == (*(True,) * 6, *(False,) * len(between)) * 2 + (True,) * 6
        assert ids[6 : 6 + len(between)] == between
        for end in (0, 6 + len(between), 12 + 2 * len(between)):
            assert (*each.prompt_ids, *ids[:end]) in prompts
    assert fake.most_in_flight > 1
    first = [body for body in bodies if tuple(body["prompt"]) == played[0].prompt_ids]
    assert sorted(body["seed"] for body in first) == [9 * 1_000_003 + g for g in range(6)]
