"""Tools: calls are read from replies and answered, the verifier reads the last reply, programs run in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pmd_agent.assembly.given import Given
from pmd_agent.episodes import Played
from pmd_agent.episodes.tools import MOST_CALLS, Tool, ToolEpisode, tool_episodes
from pmd_agent.errors import RecipeError
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.recipe import parse_recipe
from pmd_agent.types import Problem
from pmd_agent.verifiers.code import Limits
from tests.verifiers.code.conftest import on

__all__ = ["on"]
"""The fixture that skips where there is no sandbox."""
PROBLEM = Problem("p", "2 ** 10?", "1024", system="Be brief.")


def call(name: Any = "python", **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


@pytest.fixture
def episode() -> ToolEpisode:
    def broken(text: str) -> str:
        raise OSError("the line is dead")

    return ToolEpisode(
        [Tool("shout", "Louder.", {"text": "what"}, lambda text: text.upper()), Tool("break", "", {"text": ""}, broken)]
    )


def said(answers: list[dict[str, str]] | None) -> list[str]:
    assert answers is not None and all(a["role"] == "tool" for a in answers)
    return [a["content"] for a in answers]


def test_calls_are_answered_and_a_reply_without_one_ends(episode: ToolEpisode) -> None:
    system, user = episode.start(PROBLEM)
    assert system["content"].startswith("Be brief.\n\nYou have tools.") and '"name": "shout"' in system["content"]
    assert user == {"role": "user", "content": "2 ** 10?"}
    assert said(episode.act("I will.\n" + call("shout", text="a") + call("shout", text="b"))) == ["A", "B"]
    assert episode.act("It is 1024.") is None and episode.act("<think>" + call("shout", text="a") + "</think>1") is None
    assert len(said(episode.act(call("shout", text="a") * 50))) == MOST_CALLS


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("<tool_call>oops</tool_call>", "no JSON object"),
        ("<tool_call>[]</tool_call>", "no JSON object"),
        ("<tool_call>" + "[" * 100_000 + "</tool_call>", "no JSON object"),
        ('<tool_call>{"name": "shout"}</tool_call>', "no JSON object"),
        (call("whisper", text="a"), "there is shout"),
        (call(["shout"], text="a"), "there is shout"),
        (call("shout"), "takes these texts: text"),
        (call("shout", text=5), "takes these texts: text"),
        (call("shout", text="a", more="b"), "takes these texts: text"),
    ],
)  # fmt: skip
def test_a_call_that_is_none_is_said(episode: ToolEpisode, written: str, says: str) -> None:
    assert says in said(episode.act(written))[0]


def test_a_tool_that_fails_is_not_the_policys_fault(episode: ToolEpisode, play: Callable[..., list[Played]]) -> None:
    (played,) = play(ScriptedPolicy([call("break", text="a")]), [lambda: episode], prompt_tokens=4000)
    assert (
        played.outcome is not None and played.outcome.reward is None and "the line is dead" in played.outcome.feedback
    )


def test_python_runs_in_the_sandbox(on: dict[str, bool], play: Callable[..., list[Played]]) -> None:
    made = tool_episodes(["python"], limits=Limits(seconds=2.0, wall=8.0))
    policy = ScriptedPolicy(
        [call(code="print(2 ** 10)"), call(code="print(1)\n1 / 0"), call(code="open('/etc/shadow')"), "It is 1024."]
    )
    (played,) = play(policy, [made], problem=PROBLEM, prompt_tokens=4000, seconds=60.0)
    heard = [t.content for t in played.turns if t.role == "tool"]
    assert (
        heard[0] == "1024\n" and heard[1].startswith("1\n") and "ZeroDivisionError" in heard[1] and "Error" in heard[2]
    )
    assert played.outcome is None and played.turns[-1].content == "It is 1024."


def test_a_recipe_names_tools() -> None:
    recipe = parse_recipe({"problems": {"type": "math", "tools": ["python"]}})
    made = Given().environments(recipe)
    assert made is not None and isinstance(made(PROBLEM), ToolEpisode)
    both = parse_recipe({"problems": {"type": "given", "tools": ["python"], "environment": "a.b:C"}})
    with pytest.raises(RecipeError, match="both set"):
        Given().environments(both)
