"""Reflectors one after another and side by side, as real DSPy programs."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import dspy

from pmd_agent.pipelines import After, Beside, Critic, Reflector, StrictJSONAdapter


class Fixed(dspy.Module):  # type: ignore[misc]
    """Says what it is told, and remembers what it was called with."""

    def __init__(self, strategies: list[str], lessons: list[str]) -> None:
        super().__init__()
        self.said = (strategies, lessons)
        self.calls: list[dict[str, Any]] = []

    def forward(self, **given: Any) -> dspy.Prediction:
        self.calls.append(given)
        return dspy.Prediction(strategies=self.said[0], lessons=self.said[1])


def test_each_later_one_gets_the_draft_of_the_one_before(make: SimpleNamespace) -> None:
    first, second, third = Fixed(["1"], []), Fixed(["2"], []), Fixed(["3"], ["l"])
    problem, group = make.problem("p"), [make.attempt("0/p/0")]
    found = After(first, second, third)(problem=problem, experiences=group)
    assert (found.strategies, found.lessons) == (["3"], ["l"])
    assert first.calls == [{"problem": problem, "experiences": group}]
    assert second.calls[0]["draft"].strategies == ["1"]
    assert third.calls[0]["draft"].strategies == ["2"]
    assert third.calls[0]["experiences"] is group


def test_side_by_side_each_sentence_once_in_order(make: SimpleNamespace) -> None:
    found = Beside(Fixed(["a", "b"], ["x"]), Fixed(["b", "c"], ["x", "y"]))(
        problem=make.problem("p"), experiences=[make.attempt("0/p/0")]
    )
    assert (found.strategies, found.lessons) == (["a", "b", "c"], ["x", "y"])


def test_a_critic_reads_the_attempts_and_the_draft(answers: type, make: SimpleNamespace) -> None:
    def answer(prompt: str) -> str:
        revising = "draft_strategies" in prompt
        return json.dumps({"strategies": ["revised" if revising else "drafted"], "lessons": []})

    asked = answers(answer)
    group = [make.attempt("0/p/0", correct=True), make.attempt("0/p/1")]
    with dspy.context(lm=asked.lm, adapter=StrictJSONAdapter()):
        found = After(Reflector(), Critic(attempts=1))(problem=make.problem("p"), experiences=group)
    assert found.strategies == ["revised"]
    draft, revision = (user["content"] for _, user in asked.prompts)
    assert '[[ ## draft_strategies ## ]]\n["drafted"]' in revision
    assert "text of 0/p/1" in draft
    assert "text of 0/p/0" in revision and "text of 0/p/1" not in revision, "its own limit of attempts"


def test_a_nested_composition(answers: type, make: SimpleNamespace) -> None:
    asked = answers('{"strategies": ["s"], "lessons": ["l"]}')
    program = After(Beside(Reflector(), Reflector(attempts=1)), Critic())
    with dspy.context(lm=asked.lm, adapter=StrictJSONAdapter()):
        found = program(problem=make.problem("p"), experiences=[make.attempt("0/p/0", correct=True)])
    assert (found.strategies, found.lessons) == (["s"], ["l"])
    assert len(asked.prompts) == 3


def test_an_optimiser_finds_every_predictor() -> None:
    """DSPy tunes and saves what `named_predictors` lists: parts in lists and tuples must not hide."""
    program = After(Beside(Reflector(), Reflector()), Critic())
    names = [name for name, _ in program.named_predictors()]
    assert len(names) == len(set(names)) == 5
    assert program.dump_state()
