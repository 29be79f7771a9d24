"""Reflection on one problem's attempts."""

from __future__ import annotations

import json
from types import SimpleNamespace

import dspy

from pmd_agent.pipelines import Generaliser, Reflector, StrictJSONAdapter

SAID = json.dumps({"strategies": ["S"], "lessons": ["L"], "behaviors": ["n: B"]})


def test_successes_are_contrasted(answers: type, make: SimpleNamespace) -> None:
    asked = answers(SAID)
    with dspy.context(lm=asked.lm, adapter=StrictJSONAdapter()):
        found = Reflector()(
            problem=make.problem("p"), experiences=[make.attempt("0/p/0"), make.attempt("0/p/1", correct=True)]
        )
    assert (found.strategies, found.lessons) == (["S"], ["L"])
    ((system, user),) = asked.prompts
    assert "Compare the attempts" in system["content"]
    assert user["content"].index("[1] correct\ntext of 0/p/1") < user["content"].index("[2] failed\ntext of 0/p/0")


def test_failures_alone_are_asked_only_what_to_avoid(answers: type, make: SimpleNamespace) -> None:
    asked = answers(SAID)
    with dspy.context(lm=asked.lm, adapter=StrictJSONAdapter()):
        found = Reflector()(problem=make.problem("p"), experiences=[make.attempt("0/p/0")])
    assert (found.strategies, found.lessons) == ([], ["L"])
    ((system, _),) = asked.prompts
    assert "Every attempt at this problem failed." in system["content"]
    assert "strategies" not in system["content"]


def test_its_limits(answers: type, make: SimpleNamespace) -> None:
    asked = answers(SAID)
    group = [make.attempt(f"0/p/{i}", correct=i == 5, text="x" * 500 + str(i)) for i in range(6)]
    with dspy.context(lm=asked.lm, adapter=StrictJSONAdapter()):
        Reflector(attempts=2, attempt_chars=100)(problem=make.problem("p"), experiences=group)
    ((_, user),) = asked.prompts
    assert user["content"].count(" […] ") == 2
    assert "x" * 101 not in user["content"]


def test_the_generaliser_shows_so_many_lines(answers: type, make: SimpleNamespace) -> None:
    asked = answers(SAID)
    insights = [make.insight(f"p{i}", f"text {i}") for i in range(9)]
    with dspy.context(lm=asked.lm, adapter=StrictJSONAdapter()):
        found = Generaliser(insight_lines=3)(insights=insights)
    assert found.behaviors == ["n: B"]
    ((_, user),) = asked.prompts
    assert user["content"].count("\n- text") == 3
