"""Chats with rewards: what a line may be, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError, RecipeError
from pmd_agent.problems import load_problems
from pmd_agent.problems.parse_rows import BadRow
from pmd_agent.problems.traces import chat_of, reward_of, trace_id, traces_of
from pmd_agent.recipe import load_recipe, parse_recipe
from pmd_agent.recipe.problems import TraceProblems

ASKED = {"role": "user", "content": "2 + 2?"}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_chats_about_one_question_are_attempts_at_one_problem(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl",
        [
            {"messages": [{"role": "system", "content": "Be brief."}, ASKED, says("4")], "reward": 1, "kind": "sums"},
            {
                "messages": [ASKED, says("5"), {"role": "user", "content": "Sure?"}, says("<think>hm</think>4")],
                "reward": 0.25,
            },
            {"messages": [{"role": "user", "content": "3 + 3?"}, says("7")], "reward": False, "feedback": "It is 6."},
        ],
    )
    sets = load_problems(TraceProblems(path=path))
    assert (sets.validation, sets.test) == ((), ()) and [p.prompt for p in sets.train] == ["2 + 2?", "3 + 3?"]
    assert sets.train[0].id == trace_id(" 2 +  2?") and (sets.train[0].system, sets.train[0].kind) == (
        "Be brief.",
        "sums",
    )
    found = traces_of(sets.train, 0.5)
    first, second = found[sets.train[0].id]
    assert (first.text, first.reward, first.correct, first.id) == ("4", 1.0, True, f"{sets.train[0].id}/0")
    assert second.text == "Turn 1\n5\n> Sure?\nTurn 2\n4" and not second.correct
    assert found[sets.train[1].id][0].feedback == "It is 6."


def test_with_a_verifier_some_are_held_out(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n}?"}, says("4")], "reward": 1} for n in range(30)]
    sets = load_problems(TraceProblems(path=write(tmp_path / "t.jsonl", rows), verifier="exact"))
    assert len(sets.test) == 3 and len(sets.validation) == 2 and len(sets.train) == 25


def test_tool_calls_and_parts_are_told() -> None:
    chat = chat_of(
        [
            {"role": "developer", "content": "Use tools."},
            {"role": "user", "content": [{"type": "text", "text": "How warm"}, {"type": "text", "text": "is it?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "temp", "arguments": '{"c": 1}'}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "21"},
            says("21 degrees."),
        ]
    )
    assert (chat.system, chat.prompt) == ("Use tools.", "How warm\nis it?")
    assert chat.text == 'Turn 1\ncall temp {"c": 1}\n> 21\nTurn 2\n21 degrees.'


@pytest.mark.parametrize(
    ("messages", "says_why"),
    [
        (None, "no 'messages'"),
        ("hello", "instead of a list"),
        ([], "nobody replies"),
        ([ASKED], "nobody replies"),
        ([says("4")], "nobody asks"),
        ([{"role": "user", "content": " "}, says("4")], "nobody asks"),
        ([ASKED, {"role": "bot", "content": "4"}], "message 2 is no message"),
        ([ASKED, "4"], "message 2 is no message"),
        ([{"role": "user", "content": 5}, says("4")], "content of message 1"),
        ([ASKED, {"role": "assistant", "tool_calls": [{"name": "x"}]}], "names no function"),
        ([ASKED, {"role": "assistant", "tool_calls": "x"}], "instead of a list"),
        ([ASKED, says("\ud800")], "surrogate"),
    ],
)  # fmt: skip
def test_what_is_no_chat_is_said(messages: Any, says_why: str) -> None:
    with pytest.raises(BadRow, match=says_why):
        chat_of(messages)


@pytest.mark.parametrize("reward", [None, "1", 1.5, -0.1, float("nan"), [1]])
def test_what_is_no_reward_is_said(reward: Any) -> None:
    with pytest.raises(BadRow, match="reward"):
        reward_of(reward)


def test_bad_lines_are_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl", [{"messages": [ASKED, says("4")], "reward": 1}, {"messages": [ASKED], "reward": 1}]
    )
    with pytest.raises(ProblemError, match=r"t\.jsonl:2: nobody replies"):
        load_problems(TraceProblems(path=path))
    assert load_problems(TraceProblems(path=path, max_bad_fraction=0.5)).skipped


@pytest.mark.parametrize(
    "more", [{"method": "grpo"}, {"method": "sdpo"}, {"memory": {"persist": False}}, {"distill": {"routing": "srpo"}}]
)
def test_without_a_verifier_only_memory_teaches(more: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="problems\\."):
        parse_recipe({"problems": {"type": "traces", "path": "t.jsonl"}, **more})
    parse_recipe({"problems": {"type": "traces", "path": "t.jsonl", "verifier": "exact"}, **more})


def test_the_example_recipe_resolves() -> None:
    recipe = load_recipe(
        Path(__file__).parents[2] / "recipes" / "examples" / "traces.yaml", ["policy.type=local", "policy.model=box"]
    )
    assert not recipe.judged and recipe.problems.type == "traces"
