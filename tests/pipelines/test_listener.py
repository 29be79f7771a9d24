"""What a program asks is heard at the language model, whatever the program is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message as Turn
from dspy.lm15 import Request
from dspy.utils.callback import BaseCallback
from dspy.utils.dummies import DummyLM

from pmd_agent.pipelines import (
    After,
    Beside,
    Critic,
    Generaliser,
    Reflector,
    StrictJSONAdapter,
    generalise_all,
    reflect_all,
)
from pmd_agent.pipelines.listener import Listener
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.runs.program_trace import Call, Message, ProgramTrace

Reflect = Callable[..., list[ProgramTrace]]


def said(*strategies: str, lessons: Sequence[str] = ()) -> str:
    return json.dumps({"strategies": strategies, "lessons": list(lessons)})


@pytest.fixture
def reflect(make: SimpleNamespace) -> Reflect:
    """What is recorded where each of some problems has one correct attempt and one failed one."""

    def run(lm: dspy.LM, reflector: dspy.Module, problems: int = 1) -> list[ProgramTrace]:
        names, found = [f"p{n}" for n in range(problems)], list[ProgramTrace]()
        groups = [[make.attempt(f"4/{n}/0", correct=True), make.attempt(f"4/{n}/1")] for n in names]
        known: dict[str, Any] = {
            "step": 4,
            "policy_version": 3,
            "max_insights": 8,
            "insight_chars": 100,
            "prefix": "g1/",
        }
        reflect_all(reflector, lm, [make.problem(n) for n in names], groups, record=found.append, **known)
        return found

    return run


def test_each_program_has_its_own_prompt_and_names_what_it_wrote(answers: type, reflect: Reflect) -> None:
    asked = answers(lambda prompt: said("about " + prompt.split("Solve ")[1].split(".")[0], lessons=["Never guess."]))
    found = reflect(asked.lm, Reflector(), 30)
    assert [each.about for each in found] == [f"p{n}" for n in range(30)]
    for each in found:
        (call,) = each.calls
        assert [m.role for m in call.messages] == ["system", "user"]
        assert (
            f"text of 4/{each.about}/0" in call.messages[1].text
            and f"text of 4/{each.about}/1" in call.messages[1].text
        )
        assert [{"role": m.role, "content": m.text} for m in call.messages] in asked.prompts, "as the model got it"
        assert call.answers == (said(f"about {each.about}", lessons=["Never guess."]),)
        assert each.wrote == (f"g1/4/{each.about}/strategy/0", f"g1/4/{each.about}/lesson/0")
        assert each.program.startswith("pmd_agent.pipelines.reflector:Reflector#")


def test_what_does_not_parse_is_recorded_and_wrote_nothing(answers: type, reflect: Reflect) -> None:
    (each,) = reflect(answers("I think").lm, Reflector())
    assert each.wrote == () and each.calls[0].answers == ("I think",)


@pytest.mark.parametrize(
    ("module", "calls"), [(After(Reflector(), Critic()), 2), (Beside(Reflector(), Reflector()), 2)]
)
def test_programs_put_together(answers: type, reflect: Reflect, module: dspy.Module, calls: int) -> None:
    for each in reflect(answers(said("Use zog max.")).lm, module, 12):
        assert len(each.calls) == calls
        assert all(f"text of 4/{each.about}/0" in call.messages[-1].text for call in each.calls)


class Crowd(dspy.Module):  # type: ignore[misc]
    """Threads of its own, a model of its own, a question without a signature, and what it does not ask."""

    def __init__(self, own: dspy.LM) -> None:
        super().__init__()
        self.own, self.votes = own, [Reflector() for _ in range(5)]

    def forward(self, **given: Any) -> dspy.Prediction:
        dspy.Parallel(num_threads=5, disable_progress_bar=True)([(vote, given) for vote in self.votes])
        self.own("Which is best?")
        return dspy.Prediction(strategies=["The first."], lessons=[])


def test_a_module_with_threads_and_a_model_of_its_own(answers: type, reflect: Reflect) -> None:
    own = ScriptedPolicy(["x"], "the first").lm(temperature=0, max_tokens=8, seed=0)
    found = reflect(answers(said("Use zog max.")).lm, Crowd(own), 4)
    for each in found:
        assert len(each.calls) == 6
        assert sum(f"text of 4/{each.about}/0" in call.messages[-1].text for call in each.calls) == 5, "its own only"
        assert each.calls[-1] == Call("scripted/policy", (Message("user", "Which is best?"),), ("the first",))


def test_another_model_of_dspy_is_heard_and_its_failures_too(reflect: Reflect) -> None:
    lm = DummyLM([{"strategies": ["Use zog max."], "lessons": []}], adapter=StrictJSONAdapter())
    (each,) = reflect(lm, Reflector())
    assert "Use zog max." in each.calls[0].answers[0] and each.calls[0].model == "dummy"

    class Stubborn(dspy.Module):  # type: ignore[misc]
        def forward(self, **given: Any) -> dspy.Prediction:
            try:
                broken("first try")
            except Exception:
                return dspy.Prediction(strategies=[], lessons=["Never ask twice."])
            raise AssertionError

    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    broken = ScriptedPolicy(["x"]).lm(temperature=0, max_tokens=8, seed=0)
    broken.engine.complete = fail
    (each,) = reflect(lm, Stubborn())
    assert each.calls[0].answers == () and "out of memory" in each.calls[0].error


def test_who_listened_before_is_still_heard(answers: type, reflect: Reflect) -> None:
    class Counts(BaseCallback):  # type: ignore[misc]
        heard = 0

        def on_lm_start(self, **_: Any) -> None:
            self.heard += 1

    mine = Counts()
    dspy.configure(callbacks=[mine])
    try:
        found = reflect(answers(said("Use zog max.")).lm, Reflector(), 3)
    finally:
        dspy.configure(callbacks=[])
    assert mine.heard == 3 and [len(each.calls) for each in found] == [1, 1, 1]


def test_a_request_in_dspys_own_form(answers: type) -> None:
    listener, lm = Listener(), answers("hm").lm
    with dspy.context(callbacks=[listener]):
        lm(Request(model=lm.model, system="Be brief.", messages=(Turn.user("hello"),)))
    assert listener.calls[0].messages == (Message("system", "Be brief."), Message("user", "hello"))
    assert listener.calls[0].answers == ("hm",)


def test_a_generalisation_names_the_behaviors_that_were_kept_of_it(answers: type, make: SimpleNamespace) -> None:
    found: list[ProgramTrace] = []
    clusters = [
        ("a", [make.insight(p, "Use zog max.") for p in ("p", "q")]),
        ("b", [make.insight("r", "Use vit add.")]),
    ]
    lm = answers(
        lambda prompt: json.dumps(
            {"behaviors": ["one: Use zog max." if "zog" in prompt else "one: Use vit add.", "two: zog max."]}
        )
    ).lm
    known: dict[str, Any] = {"step": 9, "policy_version": 8, "max_behaviors": 8, "behavior_chars": 100}
    generalise_all(Generaliser(), lm, clusters, record=found.append, **known)
    assert [(each.about, each.wrote) for each in found] == [("a", ("9/behavior_one", "9/behavior_two")), ("b", ())]
    assert "Use zog max. (2)" in found[0].calls[0].messages[-1].text
