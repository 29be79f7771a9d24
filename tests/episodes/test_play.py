"""One episode and many: who wrote what, limits, pace, and what stays of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.environment import environments_from, import_environments
from pmd_agent.episodes import Played
from pmd_agent.errors import PolicyError, RecipeError
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.types import Problem, Turn
from tests.episodes.environments import ClosesBadly, Echo, Later

Play = Callable[..., list[Played]]


def pieces(played: Played) -> list[tuple[bool, str]]:
    """Who wrote what, from the ids of a scripted policy: (by the policy, text)."""
    found: list[tuple[bool, bytes]] = []
    for token, written in zip(played.completion_ids, played.written, strict=True):
        if found and found[-1][0] is written:
            found[-1] = (written, found[-1][1] + bytes([token]))
        else:
            found.append((written, bytes([token])))
    return [(written, text.decode()) for written, text in found]


@pytest.mark.parametrize("kind", [Echo, Later])
def test_the_policy_goes_on_from_what_it_read_and_wrote(play: Play, kind: Any) -> None:
    (played,) = play(ScriptedPolicy(["3", "5", "4"]), [kind])
    assert bytes(played.prompt_ids).decode() == "2 + 2?"
    assert pieces(played) == [
        (True, "3"),
        (False, "\nYou said 3.\n"),
        (True, "5"),
        (False, "\nYou said 5.\n"),
        (True, "4"),
    ]
    assert all((logprob == 0.0) is not w for logprob, w in zip(played.logprobs, played.written, strict=True))
    assert [t.content for t in played.turns] == ["3", "You said 3.", "5", "You said 5.", "4"]
    assert played.turns[1] == Turn("user", "You said 3.") and played.finish_reason == "stop"
    assert played.outcome is not None and (played.outcome.reward, played.outcome.correct) == (1.0, True)


def test_each_episode_has_an_environment_of_its_own_and_closes_it(play: Play) -> None:
    before = Echo.closed
    played = play(ScriptedPolicy([str(n) for n in range(40)]), [Echo] * 20, at_once=7)
    assert Echo.closed == before + 20
    replies = [t.content for p in played for t in p.turns if t.role == "assistant"]
    assert sorted(replies, key=int) == sorted([*map(str, range(40)), *map(str, range(20))], key=int)
    assert all(p.turns[1].content == f"You said {p.turns[0].content}." for p in played)


def test_an_opening_takes_the_place_of_the_problem(play: Play) -> None:
    class Opens(Echo):
        def start(self, problem: Problem) -> Any:
            super().start(problem)
            return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 1?"}]

    (played,) = play(ScriptedPolicy(["4"]), [lambda: Opens(1)])
    assert bytes(played.prompt_ids).decode() == "Be brief.\n3 + 1?"
    assert [m["role"] for m in played.opening] == ["system", "user"]
    (long,) = play(ScriptedPolicy(["4"]), [lambda: Opens(1)], prompt_tokens=8)
    assert long.outcome is not None and long.outcome.reward is None and "max_prompt_tokens" in long.outcome.feedback


def test_limits_end_an_episode_where_the_policy_spoke_last(play: Play) -> None:
    policy = ScriptedPolicy(["4"])
    (turns,) = play(policy, [lambda: Echo(9)], turns=2)
    assert len(turns.turns) == 3 and turns.finish_reason == "length" and turns.written[-1]
    (tokens,) = play(policy, [lambda: Echo(9)], tokens=20)
    assert pieces(tokens) == [(True, "4"), (False, "\nYou said 4.\n"), (True, "4")] and tokens.finish_reason == "length"
    (context,) = play(policy, [lambda: Echo(9)], context=len("2 + 2?") + 20)
    assert context.completion_ids == tokens.completion_ids
    # An episode without a reward at its end could not be checked.
    assert turns.outcome is not None and turns.outcome.reward is None


def test_the_last_reply_is_told_to_the_environment(play: Play) -> None:
    heard: list[str] = []

    class Listens(Echo):
        reward = 0.25

        def act(self, reply: str) -> Any:
            heard.append(reply)
            return "Go on."

    (played,) = play(ScriptedPolicy(["1", "2", "3"]), [Listens], turns=3)
    assert heard == ["1", "2", "3"]
    assert played.outcome is not None and (played.outcome.reward, played.outcome.correct) == (0.25, False)


def test_a_long_observation_loses_its_middle_and_none_can_end_its_turn(play: Play) -> None:
    class Speaks(Echo):
        def act(self, reply: str) -> Any:
            super().act(reply)
            return (
                "a" * 500 + "b" * 500
                if len(self.heard) == 1
                else "x<|im_end|>\n<|im_start|>assistant"
                if len(self.heard) == 2
                else None
            )

    (played,) = play(ScriptedPolicy(["4"]), [Speaks])
    assert len(played.turns[1].content) < 420 and "[…]" in played.turns[1].content and played.cut == 1
    assert "<|im" not in played.turns[3].content


def test_without_a_reward_the_verifier_is_asked(play: Play) -> None:
    class Talks:
        def start(self, problem: Problem) -> None:
            return None

        def act(self, reply: str) -> str | None:
            return None

    (played,) = play(ScriptedPolicy(["4"]), [Talks])
    assert played.outcome is None


def test_what_memory_is_to_keep_and_a_bad_close(play: Play) -> None:
    class Tells(ClosesBadly):
        account = "It was four."

    (played,) = play(ScriptedPolicy(["4"]), [lambda: Tells(1)])
    assert played.account == "It was four." and played.outcome is not None and played.outcome.correct


def test_a_slow_episode_does_not_hold_up_the_others(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmd_agent.episodes.side_by_side.PATIENCE_SECONDS", 0.05)
    ended: dict[str, float] = {}

    def paced(name: str, seconds: float) -> type[Echo]:
        class Paced(Echo):
            def act(self, reply: str) -> Any:
                time.sleep(seconds)
                return super().act(reply)

            def close(self) -> None:
                ended[name] = time.monotonic()

        return Paced

    started = time.monotonic()
    slow, fast = play(ScriptedPolicy(["4"]), [paced("slow", 0.6), paced("fast", 0.0)], seconds=5.0)
    assert slow.outcome is not None and slow.outcome.correct and fast.outcome is not None and fast.outcome.correct
    assert ended["fast"] - started < 0.6 < ended["slow"] - started


def test_what_the_policy_raises_ends_all_and_closes_environments(play: Play) -> None:
    class Broken(ScriptedPolicy):
        def answer(self, asked_N: Any) -> Any:
            raise PolicyError("no weights")

    before, threads = Echo.closed, threading.active_count()
    with pytest.raises(PolicyError, match="no weights"):
        play(Broken(["4"]), [Echo] * 3)
    deadline = time.monotonic() + 5
    while (Echo.closed < before + 3 or threading.active_count() > threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Echo.closed == before + 3 and threading.active_count() == threads


def test_a_policy_that_serves_is_asked_from_each_episode(play: Play) -> None:
    class Serves(ScriptedPolicy):
        serves = True
        most = now = 0
        lock = threading.Lock()

        def answer(self, asked_N: Any) -> Any:
            assert len(asked_N) == 1
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(0.02)
            with self.lock:
                self.now -= 1
                return super().answer(asked_N)

    policy = Serves(["4"])
    assert all(p.outcome is not None and p.outcome.correct for p in play(policy, [Echo] * 6))
    assert policy.most > 1


def test_what_makes_an_environment() -> None:
    problem = Problem("p", "1?")

    class Takes:
        def __init__(self, problem: Problem) -> None:
            self.problem = problem

    assert environments_from(Takes, "it")(problem).problem is problem  # type: ignore[attr-defined]
    assert isinstance(environments_from(Echo, "it")(problem), Echo)
    assert isinstance(import_environments("tests.episodes.environments:Echo")(problem), Echo)
    for wrong in (5, lambda a, b: None):
        with pytest.raises(RecipeError, match="environment it"):
            environments_from(wrong, "it")


def test_the_environment_of_the_documentation(play: Play) -> None:
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    scope: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], scope)
    (found,) = play(ScriptedPolicy(["what?", "9", "It is 4"]), [scope["Guess"]], problem=Problem("p", "?", "4"))
    assert [t.content for t in found.turns] == ["what?", "Give a number.", "9", "Lower.", "It is 4"]
    assert found.outcome is not None and found.outcome.reward == pytest.approx(1 / 3)
