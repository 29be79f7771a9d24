"""Groups are judged and reflected on while others are still sampled, and attempts are sampled ahead: on a fake server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pmd_agent.errors import PipelineError, PMDError, PolicyError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.pipelines import Generaliser, Reflector
from pmd_agent.policies.vllm.policy import VllmPolicy
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.recipe import parse_recipe
from pmd_agent.stages import Early, Metrics, Parts, attempt, reflect, remember, sampling_ahead, verify
from pmd_agent.types import Problem, Verdict

PROBLEMS = tuple(Problem(f"p/{i}", f"question {i}") for i in range(4))


class Odd:
    """Right where the first token is odd."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def verify(self, problem: Problem, text: str) -> Verdict:
        self.asked.append(problem.id)
        right = bool(int(text.split()[0]) % 2)
        return Verdict(float(right), right)


@pytest.fixture
def parts(server: Any, words: Any, fake: Any) -> Iterator[Parts]:
    fake.max_model_len = 100_000
    policy = VllmPolicy(server, words, context=100_000, eos_ids=[2], in_flight=4, timeout=90.0)
    policy.load(None, 0)
    recipe = parse_recipe(
        {
            "policy": {"type": "vllm"},
            "rollout": {"problems": 4, "samples": 2, "max_tokens": 4},
            "pipeline": {"style": "plain"},
        }
    )
    with Memory.ephemeral(HashingEmbedder()) as memory:
        yield Parts(
            recipe=recipe, steps=4, curriculum=Curriculum(PROBLEMS, 4, 0), train=PROBLEMS, validation=(), test=(),
            policy=policy, verifier=Odd(), memory=memory, embedder=HashingEmbedder(), reflector=Reflector(),
            generaliser=Generaliser(), trainer=None, context=100_000,
        )  # fmt: skip
    policy.close()


def slow(fake: Any, problem: int) -> threading.Event:
    """Attempts at this problem wait for the event."""
    go = threading.Event()
    text = list(map(ord, f"question {problem}"))
    fake.drop = lambda body: bool("prompt" in body and body["prompt"][-len(text) :] == text and not go.wait(60.0))
    return go


def stages(parts: Parts, early: Early | None, m: Metrics) -> tuple[Any, Any, Any]:
    rollouts = attempt(parts, m, PROBLEMS, early)
    verdicts = verify(parts, m, PROBLEMS, rollouts, early)
    experiences = remember(parts, m, rollouts, verdicts)
    return rollouts, verdicts, reflect(parts, m, PROBLEMS, experiences, early)


def chats(fake: Any) -> int:
    return fake.paths().count("/v1/chat/completions")


def test_what_is_done_early_is_what_is_done_late(parts: Parts, fake: Any) -> None:
    late = Metrics(0)
    wanted = stages(parts, None, late)
    rows = {tier: parts.memory.list(tier) for tier in ("experience", "insight")}
    parts.memory.rollback(0)
    go = slow(fake, 2)
    before = chats(fake)

    def when_the_others_are_reflected_on() -> None:
        until = time.monotonic() + 60.0
        while chats(fake) < before + 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(fake.answered) == 4 + 3  # of the first time, and those that are not slow
        go.set()

    watching = threading.Thread(target=when_the_others_are_reflected_on)
    watching.start()
    m = Metrics(0)
    early = Early(parts, m, PROBLEMS)
    found = stages(parts, early, m)
    watching.join()
    assert found == wanted and early.begun >= {0, 1, 3}
    assert {tier: parts.memory.list(tier) for tier in rows} == rows and rows["insight"]
    assert m.values == late.values and m.traces == late.traces and len(m.traces) == 4
    assert set(m.seconds) == set(late.seconds)


def test_each_attempt_is_judged_once(parts: Parts, fake: Any) -> None:
    slow(fake, 3).set()
    m = Metrics(0)
    stages(parts, Early(parts, m, PROBLEMS), m)
    assert isinstance(parts.verifier, Odd)
    assert sorted(parts.verifier.asked) == [p.id for p in PROBLEMS for _ in range(2)]
    assert m.values["rollouts"] == 8 and m.values["unchecked"] == 0


def test_no_insights_no_early_reflection(parts: Parts, fake: Any) -> None:
    parts.recipe = replace_memory(parts, tiers=["experience"])
    go = slow(fake, 0)
    threading.Timer(0.3, go.set).start()
    m = Metrics(0)
    early = Early(parts, m, PROBLEMS)
    stages(parts, early, m)
    assert early.verified and not early.begun and not chats(fake)


def replace_memory(parts: Parts, **settings: Any) -> Any:
    return parse_recipe(parts.recipe.model_dump(mode="json") | {"memory": settings})


def test_a_reflector_that_fails_ends_the_step_with_its_error(parts: Parts, fake: Any) -> None:
    class Broken(Reflector):
        def forward(self, problem: Any, experiences: Any) -> Any:
            raise ZeroDivisionError("of its own")

    parts.reflector = Broken()
    go = slow(fake, 1)
    threading.Timer(0.3, go.set).start()
    m = Metrics(0)
    early = Early(parts, m, PROBLEMS)
    rollouts = attempt(parts, m, PROBLEMS, early)
    verdicts = verify(parts, m, PROBLEMS, rollouts, early)
    experiences = remember(parts, m, rollouts, verdicts)
    with pytest.raises(PipelineError, match="of its own"):
        reflect(parts, m, PROBLEMS, experiences, early)
    assert not parts.memory.list("insight")


def test_a_server_that_refuses_ends_what_was_begun(parts: Parts, fake: Any) -> None:
    text = list(map(ord, "question 2"))

    def refuse(path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        if path == "/v1/completions" and body["prompt"][-len(text) :] == text:
            time.sleep(0.3)
            return 400, "no"
        return None

    fake.refuse = refuse
    m = Metrics(0)
    early = Early(parts, m, PROBLEMS)
    with pytest.raises(PolicyError, match="refused"):
        attempt(parts, m, PROBLEMS, early)
    assert early.verified  # some were complete before


# ---- one step ahead


def lagging(parts: Parts) -> None:
    parts.recipe = parse_recipe(
        parts.recipe.model_dump(mode="json") | {"rollout": parts.recipe.rollout.model_dump() | {"lag": 1}}
    )


def test_the_next_attempts_are_sampled_meanwhile_and_taken(parts: Parts, fake: Any) -> None:
    lagging(parts)
    m = Metrics(0)
    with sampling_ahead(parts, m):
        until = time.monotonic() + 60.0
        while len(fake.answered) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(fake.answered) == 4, "nothing is sampled while this block runs"
    assert "ahead" in m.seconds and set(parts.ahead) == {1}
    parts.policy.load(None, 1)
    m = Metrics(1)
    problems = parts.curriculum.batch(1)
    rollouts = attempt(parts, m, problems, Early(parts, m, problems))
    assert len(fake.answered) == 4 and not parts.ahead
    assert [[r.problem_id for r in group] for group in rollouts] == [[p.id] * 2 for p in problems]
    assert {r.policy_version for group in rollouts for r in group} == {0}
    assert all(r.id.startswith("1/") for group in rollouts for r in group)


def test_the_last_step_and_a_recipe_without_lag_sample_nothing_ahead(parts: Parts, fake: Any) -> None:
    with sampling_ahead(parts, Metrics(0)):
        pass
    lagging(parts)
    with sampling_ahead(parts, Metrics(3)):
        pass
    assert not fake.answered and not parts.ahead


def test_an_error_of_sampling_is_raised_after_the_block(parts: Parts, fake: Any) -> None:
    lagging(parts)
    fake.refuse = lambda path, body: (400, "no") if path == "/v1/completions" else None
    learnt = False
    with pytest.raises(PolicyError, match="refused"), sampling_ahead(parts, Metrics(0)):
        learnt = True
    assert learnt


def test_an_error_of_learning_does_not_wait_for_the_server(parts: Parts, fake: Any, server: Any) -> None:
    lagging(parts)
    fake.drop = lambda body: bool("prompt" in body and time.sleep(3.0))
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), sampling_ahead(parts, Metrics(0)):
        raise ZeroDivisionError
    parts.policy.close()
    assert time.monotonic() - started < 2.0 and not server.recoveries


def test_a_closed_policy_starts_no_server_again(parts: Parts, server: Any) -> None:
    parts.policy.close()
    policy: Any = parts.policy
    for ask in (policy.ready, lambda: policy.recover(1), lambda: policy.not_served(1)):
        with pytest.raises(PolicyError, match="closed"):
            ask()
    assert not server.recoveries


def test_lag_and_a_server_that_sleeps_exclude_each_other() -> None:
    with pytest.raises(PMDError, match=r"rollout.lag=1 .* policy.sleep"):
        parse_recipe({"policy": {"type": "vllm", "sleep": True}, "rollout": {"lag": 1}})
    assert parse_recipe({"policy": {"type": "local"}, "rollout": {"lag": 1}}).rollout.lag == 1
