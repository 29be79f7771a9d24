"""Tools: calls are answered, the verifier reads the last reply, programs run in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pmd_agent.assembly.given import Given
from pmd_agent.assembly.tools import tool_episodes
from pmd_agent.environment import Reply
from pmd_agent.episodes import Played
from pmd_agent.episodes.tools import MOST_CALLS, Tool, ToolEpisode
from pmd_agent.errors import RecipeError
from pmd_agent.models.tool_formats import read_calls
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.recipe import parse_recipe
from pmd_agent.recipe.problems import SandboxSection
from pmd_agent.types import Problem
from tests.verifiers.code.conftest import on

__all__ = ["on"]
"""The fixture that skips where there is no sandbox."""
PROBLEM = Problem("p", "2 ** 10?", "1024", system="Be brief.")


def call(name: Any = "python", **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def texts(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


@pytest.fixture
def episode() -> ToolEpisode:
    def broken(text: str) -> str:
        raise OSError("the line is dead")

    return ToolEpisode(
        [Tool("shout", "Louder.", texts("text"), lambda text: text.upper()), Tool("break", "", texts("text"), broken)]
    )


def said(episode: ToolEpisode, written: str) -> list[str]:
    answers = episode.act(Reply(written, *read_calls("plain", written, [], 1)))
    assert answers is not None and all(a["role"] == "tool" and len(a["tool_call_id"]) == 9 for a in answers)
    return [a["content"] for a in answers]


def ends(episode: ToolEpisode, written: str) -> bool:
    return episode.act(Reply(written, *read_calls("plain", written, [], 1))) is None


def test_calls_are_answered_and_a_reply_without_one_ends(episode: ToolEpisode) -> None:
    system, user = episode.start(PROBLEM)
    assert system["content"] == "Be brief." and [t["function"]["name"] for t in system["tools"]] == ["shout", "break"]
    assert user == {"role": "user", "content": "2 ** 10?"}
    assert said(episode, "I will.\n" + call("shout", text="a") + call("shout", text="b")) == ["A", "B"]
    assert ends(episode, "It is 1024.") and ends(episode, "<think>" + call("shout", text="a") + "</think>1")
    assert len(said(episode, call("shout", text="a") * 50)) == MOST_CALLS


def test_tools_are_told_of_where_the_problem_has_no_system_message(episode: ToolEpisode) -> None:
    (user,) = episode.start(Problem("p", "2 ** 10?"))
    assert user["role"] == "user" and len(user["tools"]) == 2


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("<tool_call>oops</tool_call>", "no call of a tool"),
        ("<tool_call>[]</tool_call>", "no call of a tool"),
        ("<tool_call>" + "[" * 100_000 + "</tool_call>", "no call of a tool"),
        ('<tool_call>{"name": "shout"}</tool_call>', "no call of a tool"),
        ('<tool_call>{"name": "shout", "argum', "no call of a tool"),
        (call(["shout"], text="a"), "no call of a tool"),
        (call("whisper", text="a"), "there is shout"),
        (call("shout"), "takes text (string), and text is missing"),
        (call("shout", text=5), "takes text (string)"),
        (call("shout", text="a", more="b"), "takes text (string)"),
    ],
)  # fmt: skip
def test_a_call_that_is_none_is_said(episode: ToolEpisode, written: str, says: str) -> None:
    assert says in said(episode, written)[0]


def test_types_of_arguments_are_those_of_the_schema() -> None:
    kinds = {
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "many": {"type": "array"},
        "any": {},
        "two": {"type": ["string", "null"]},
    }
    tool = Tool("f", "", {"type": "object", "properties": kinds, "required": ["n"]}, lambda **given: "")
    assert tool.refusal({"n": 1, "x": 2.5, "many": [1], "any": {}, "two": None}) == ""
    assert Tool("f", "", {"type": "object"}, lambda **given: "").refusal({"what": 1}) == ""
    for wrong in ({"n": True}, {"n": 1.5}, {"n": 1, "x": "2"}, {"n": 1, "many": "a"}, {}):
        assert tool.refusal(wrong).startswith("error: f takes n (integer), x (number)"), wrong


def test_a_tool_that_fails_is_not_the_policys_fault(episode: ToolEpisode, play: Callable[..., list[Played]]) -> None:
    (played,) = play(ScriptedPolicy([call("break", text="a")]), [lambda: episode], prompt_tokens=4000)
    assert (
        played.outcome is not None and played.outcome.reward is None and "the line is dead" in played.outcome.feedback
    )


def test_python_runs_in_the_sandbox(on: dict[str, bool], play: Callable[..., list[Played]]) -> None:
    made = tool_episodes(("python",), SandboxSection(seconds=2.0))
    policy = ScriptedPolicy(
        [call(code="print(2 ** 10)"), call(code="print(1)\n1 / 0"), call(code="open('/etc/shadow')"), "It is 1024."]
    )
    (played,) = play(policy, [made], problem=PROBLEM, prompt_tokens=4000, seconds=60.0)
    heard = [t.content for t in played.turns if t.role == "tool"]
    assert (
        heard[0] == "1024\n" and heard[1].startswith("1\n") and "ZeroDivisionError" in heard[1] and "Error" in heard[2]
    )
    assert played.outcome is None and played.turns[-1].content == "It is 1024."
    assert '"name": "python"' in played.opening[0]["tools"]


def test_a_recipe_names_tools() -> None:
    recipe = parse_recipe({"problems": {"type": "math", "tools": ["python"]}})
    made = Given().environments(recipe)
    assert made is not None and isinstance(made(PROBLEM), ToolEpisode)
    both = parse_recipe({"problems": {"type": "given", "tools": ["python"], "environment": "a.b:C"}})
    with pytest.raises(RecipeError, match="both set"):
        Given().environments(both)
    twice = parse_recipe({"problems": {"type": "given", "tools": ["python", "python"]}})
    with pytest.raises(RecipeError, match="are called python"):
        Given().environments(twice)
