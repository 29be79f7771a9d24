"""Episodes in the stages of a step: an attempt is an attempt, its verdict the environment's, and memory keeps what was said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pmd_agent.environment import Environments, environments_from
from pmd_agent.errors import RunError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.policies import Messages
from pmd_agent.stages import Metrics, Parts, attempt, distil, evaluate, recall, remember, teacher_prompts, verify
from pmd_agent.types import Problem
from tests.episodes.environments import Echo, Raises
from tests.test_stages import PROBLEMS, Recorder, make


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.ephemeral(HashingEmbedder()) as opened:
        yield opened


def playing(memory: Memory, answers: list[str], environments: Any, **settings: Any) -> Parts:
    made: Environments = environments_from(environments, "it")
    return replace_parts(make(memory, answers, Recorder([]), **settings), made)


def replace_parts(parts: Parts, environments: Environments) -> Parts:
    return replace(parts, environments=environments)


def two() -> Echo:
    return Echo(2)


def test_a_step_of_episodes(memory: Memory) -> None:
    # Of p/0 (4) the second is right, of p/1 (5) both are: the scripted replies of a turn come in the order of episodes.
    parts = playing(memory, ["1", "2", "3", "6", "9", "4", "5", "5"], two)
    m = Metrics(0)
    rollouts = attempt(parts, m, PROBLEMS)
    assert [r.id for g in rollouts for r in g] == ["0/p/0/0", "0/p/0/1", "0/p/1/0", "0/p/1/1"]
    assert rollouts[0][1].text == "Turn 1\n2\n> You said 2.\nTurn 2\n4" and rollouts[0][1].reply == "4"
    assert m.values["turns"] == 2 and m.values["episodes_failed"] == 0 and m.values["response_tokens"] == 2
    verdicts = verify(parts, m, PROBLEMS, rollouts)
    assert [[v.correct for v in g] for g in verdicts] == [[False, True], [True, True]]
    assert verdicts[0][0].feedback == "9 is not correct."
    experiences = remember(parts, m, rollouts, verdicts)
    assert {e.text for e in memory.list("experience")} == {r.text for g in rollouts for r in g}
    assert experiences[0][0].feedback == "9 is not correct."
    recalled = recall(parts, m, PROBLEMS, experiences)
    prompts = teacher_prompts(parts, m, rollouts, verdicts, recalled)
    read = bytes(prompts.teaching["0/p/0/0"].ids or ()).decode()
    assert "> You said 2." in read and read.endswith("2 + 2?")
    distil(parts, m, rollouts, verdicts, prompts)
    assert isinstance(parts.trainer, Recorder)
    example = next(e for e in parts.trainer.examples if e.id == "0/p/0/0")
    assert sum(example.written) == 2 < len(example.written)


def test_a_failed_environment_is_counted_and_enters_nothing(memory: Memory) -> None:
    made = iter([Raises, two, two, two])
    parts = playing(memory, ["4"], lambda: next(made)())
    m = Metrics(0)
    rollouts = attempt(parts, m, PROBLEMS)
    verdicts = verify(parts, m, PROBLEMS, rollouts)
    remember(parts, m, rollouts, verdicts)
    assert m.values["episodes_failed"] == m.values["unchecked"] == 1
    assert len(memory.list("experience")) == 3


def test_a_step_in_which_all_fail_stops_with_the_reason(memory: Memory) -> None:
    parts = playing(memory, ["4"], Raises)
    m = Metrics(0)
    with pytest.raises(RunError, match="the service is down"):
        verify(parts, m, PROBLEMS, attempt(parts, m, PROBLEMS))


def test_without_a_reward_the_verifier_reads_the_last_reply(memory: Memory) -> None:
    class Talks:
        def start(self, problem: Problem) -> None:
            self.replies = 0

        def act(self, reply: str) -> str | None:
            self.replies += 1
            return "Sure?" if self.replies == 1 else None

    parts = playing(memory, ["7", "7", "7", "7", "4", "?", "5", "5"], Talks)
    m = Metrics(0)
    verdicts = verify(parts, m, PROBLEMS, attempt(parts, m, PROBLEMS))
    assert [[v.correct for v in g] for g in verdicts] == [[True, None], [True, True]]
    assert m.values["unchecked"] == 1 and m.values["episodes_failed"] == 0


def test_an_evaluation_with_memory_reads_it_before_the_opening(memory: Memory) -> None:
    class Opens(Echo):
        def start(self, problem: Problem) -> Any:
            super().start(problem)
            return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Now: {problem.prompt}"}]

    parts = playing(memory, ["4", "5"], lambda: Opens(1), evaluate={"samples": 1})
    m = Metrics(0)
    rollouts = attempt(parts, m, PROBLEMS)
    experiences = remember(parts, m, rollouts, verify(parts, m, PROBLEMS, rollouts))
    read: list[str] = []
    encode = parts.policy.encode

    def reading(messages: Messages, *, thinking: bool | None = None) -> list[int]:
        read.append(messages[-1]["content"])
        return encode(messages, thinking=thinking)

    parts.policy.encode = reading  # type: ignore[method-assign]
    outcomes = evaluate(parts, Metrics(1), PROBLEMS, True)
    shown = [text for text in read if "Notes from practice" in text and text.endswith("Now: 2 + 2?")]
    assert shown and "A correct solution of this problem:\nTurn 1\n4" in shown[-1]
    assert [o.checked for o in outcomes] == [1, 1]
    prompts = teacher_prompts(
        parts, m, rollouts, verify(parts, m, PROBLEMS, rollouts), recall(parts, m, PROBLEMS, experiences)
    )
    taught = bytes(prompts.teaching["0/p/1/0"].ids or ()).decode()
    assert taught.startswith("Be brief.\n") and taught.endswith("Now: 2 + 3?")


def test_the_teacher_reads_of_the_same_tools_as_the_student(memory: Memory) -> None:
    class Offers(Echo):
        def start(self, problem: Problem) -> Any:
            super().start(problem)
            return {
                "role": "user",
                "content": problem.prompt,
                "tools": [{"type": "function", "function": {"name": "add"}}],
            }

    parts = playing(memory, ["4", "5"], lambda: Offers(1))
    told: list[str] = []
    encode = parts.policy.encode

    def reading(messages: Messages, *, thinking: bool | None = None) -> list[int]:
        told.append(messages[0].get("tools", "") + messages[-1]["content"])
        return encode(messages, thinking=thinking)

    parts.policy.encode = reading  # type: ignore[method-assign]
    m = Metrics(0)
    rollouts = attempt(parts, m, PROBLEMS)
    verdicts = verify(parts, m, PROBLEMS, rollouts)
    teacher_prompts(parts, m, rollouts, verdicts, recall(parts, m, PROBLEMS, remember(parts, m, rollouts, verdicts)))
    assert any("Notes from practice" in text for text in told) and all('"name": "add"' in text for text in told)
