"""A whole batch of reflections and generalisations, and what of it becomes memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from dspy.utils.dummies import DummyLM

from pmd_agent.errors import PipelineError, PolicyError
from pmd_agent.pipelines import (
    After,
    Critic,
    Generaliser,
    Reflector,
    StrictJSONAdapter,
    generalise_all,
    reflect_all,
    run_programs,
)
from pmd_agent.pipelines.program_id import program_of
from pmd_agent.pipelines.run_programs import name_and_rule
from pmd_agent.policies.batching import BatchingEngine
from pmd_agent.types import Behavior, Experience, Insight, Problem, Sampling


class Inventor(dspy.Module):  # type: ignore[misc]
    """Says the same of every problem, whether or not anything supports it."""

    def __init__(self, prediction: Any) -> None:
        super().__init__()
        self.prediction = prediction

    def forward(self, **given: Any) -> Any:
        return self.prediction


def said(strategies: Sequence[str] = (), lessons: Sequence[str] = ()) -> str:
    return json.dumps({"strategies": list(strategies), "lessons": list(lessons)})


def reflect(
    lm: dspy.LM,
    problems: Sequence[Problem],
    groups: Sequence[Sequence[Experience]],
    reflector: dspy.Module | None = None,
    **limits: int,
) -> tuple[list[list[Insight]], dict[str, int]]:
    known: dict[str, Any] = {"step": 4, "policy_version": 3, "max_insights": 8, "insight_chars": 100}
    return reflect_all(reflector or Reflector(), lm, problems, groups, **(known | limits))


@pytest.fixture
def one(make: SimpleNamespace) -> tuple[list[Problem], list[list[Experience]]]:
    """One problem with one success in four."""
    return [make.problem("p")], [[make.attempt(f"4/p/{i}", correct=i == 2) for i in range(4)]]


# --- reflection -------------------------------------------------------------------------------------------------------


def test_insights_cite_what_they_came_from(answers: type, one: tuple[Any, Any]) -> None:
    lm = answers(said(["Use zog max.", "Use vit add."], ["Never zog add."])).lm
    (insights,), counts = reflect(lm, *one)
    sources = ("4/p/0", "4/p/1", "4/p/2", "4/p/3")
    (program,) = {i.program for i in insights}
    assert program == program_of(Reflector(), lm.model) and program.startswith(
        "pmd_agent.pipelines.reflector:Reflector#"
    )
    assert [replace(i, program="") for i in insights] == [
        Insight("4/p/strategy/0", "p", "strategy", "Use zog max.", 0.25, sources, 4, 3),
        Insight("4/p/strategy/1", "p", "strategy", "Use vit add.", 0.25, sources, 4, 3),
        Insight("4/p/lesson/0", "p", "lesson", "Never zog add.", 0.25, sources, 4, 3),
    ]
    assert counts == {"calls": 1, "unparsed": 0, "dropped": 0}
    assert reflect(lm, *one)[0] == [insights], "written again it is the same"


def test_a_program_is_named_by_its_questions() -> None:
    class Other(Reflector):
        pass

    named, other = program_of(Reflector(), "m"), program_of(Other(), "m")
    assert named == program_of(Reflector(attempts=2), "m") and named != other
    changed = Reflector()
    changed.contrast.signature = changed.contrast.signature.with_instructions("Say something else.")
    assert program_of(changed, "m") != named


def test_every_problem_gets_its_own(answers: type, make: SimpleNamespace) -> None:
    """Problems without experiences take no call, and shift nobody."""
    names = [f"p{i}" for i in range(30)]

    def answer(prompt: str) -> str:
        name = prompt.split("Solve ")[1].split(".")[0]
        return "no idea" if name == "p4" else said([f"about {name}"])

    groups = [[] if i % 7 == 0 else [make.attempt(f"4/p{i}/0", correct=True)] for i in range(30)]
    asked = answers(answer)
    found, counts = reflect(asked.lm, [make.problem(name) for name in names], groups)
    for i, (name, insights) in enumerate(zip(names, found, strict=True)):
        silent = i % 7 == 0 or i == 4
        assert [(x.text, x.problem_id) for x in insights] == ([] if silent else [(f"about {name}", name)])
    assert counts == {"calls": 25, "unparsed": 1, "dropped": 0}
    assert len(asked.prompts) == 25


@pytest.mark.parametrize("broken", ["", "I think", '{"strategies": ["a"', '["a"]', '{"strategies": ["a"]}', "[" * 5000])
def test_what_does_not_parse_is_counted_and_dropped(answers: type, one: tuple[Any, Any], broken: str) -> None:
    asked = answers(broken)
    assert reflect(asked.lm, *one) == ([[]], {"calls": 1, "unparsed": 1, "dropped": 0})
    assert len(asked.prompts) == 1, "and not asked a second time"


def test_no_strategy_without_a_success(answers: type, make: SimpleNamespace) -> None:
    """Whatever module says so."""
    failed = [[make.attempt("4/p/0"), make.attempt("4/p/1", reward=0.4)]]
    module = Inventor(dspy.Prediction(strategies=["Guess.", "Guess again."], lessons=["Never guess."]))
    (insights,), counts = reflect(answers("").lm, [make.problem("p")], failed, module)
    assert [(i.kind, i.text, i.confidence) for i in insights] == [("lesson", "Never guess.", 0.0)]
    assert counts == {"calls": 1, "unparsed": 0, "dropped": 2}


def test_limits_of_number_and_length(answers: type, one: tuple[Any, Any]) -> None:
    texts = ["", "  ", "x" * 21, "Use a.", " Use\n a. ", "Use b.", "Use c.", "x" * 20]
    (insights,), counts = reflect(answers(said(texts, texts[:4])).lm, *one, max_insights=3, insight_chars=20)
    assert [i.text for i in insights] == ["Use a.", "Use b.", "Use c.", "Use a."]
    assert [i.id for i in insights] == ["4/p/strategy/0", "4/p/strategy/1", "4/p/strategy/2", "4/p/lesson/0"]
    assert counts["dropped"] == 5 + 3


@pytest.mark.parametrize(
    ("prediction", "texts", "dropped"),
    [
        (dspy.Prediction(strategies="Not a list.", lessons={"Use a."}), ["Not a list.", "Use a."], 0),
        (dspy.Prediction(strategies=7, lessons=["Use a."]), ["Use a."], 1),
        (dspy.Prediction(strategies=["Use a.", 3, None], lessons=("Use b.",)), ["Use a.", "Use b."], 2),
        (dspy.Prediction(lessons=["Use a."]), ["Use a."], 0),
        (dspy.Prediction(strategies=None, lessons=None), [], 0),
        ({"strategies": ["Use a."]}, ["Use a."], 0),
    ],
)
def test_a_careless_module_breaks_nothing(
    answers: type, one: tuple[Any, Any], prediction: Any, texts: list[str], dropped: int
) -> None:
    (insights,), counts = reflect(answers("").lm, *one, Inventor(prediction))
    assert [i.text for i in insights] == texts
    assert counts["dropped"] == dropped


@pytest.mark.parametrize("prediction", [None, dspy.Prediction(foo=1), "a string"])
def test_what_says_nothing_of_its_kind_counts_as_unparsed(answers: type, one: tuple[Any, Any], prediction: Any) -> None:
    (insights,), counts = reflect(answers("").lm, *one, Inventor(prediction))
    assert not insights and counts["unparsed"] == 1


def test_a_fault_of_ones_own_module_is_one_sentence(answers: type, one: tuple[Any, Any]) -> None:
    class Faulty(dspy.Module):  # type: ignore[misc]
        def forward(self, problem: object, experiences: object) -> None:
            raise KeyError("steps")

    with pytest.raises(
        PipelineError, match=r"Faulty failed: KeyError: 'steps' \(.*test_run_programs.py:\d+\)"
    ) as caught:
        reflect(answers("").lm, *one, Faulty())
    assert "--resume" in caught.value.hint


def test_programs_side_by_side_are_answered_together_step_by_step(answers: type, make: SimpleNamespace) -> None:
    """The same batches every time, whatever the threads do; one that does not parse and one that ends early hold up nobody."""

    def answer(prompt: str) -> str:
        return "no idea" if "Solve p3." in prompt else said(["drafted"])

    asked = answers(answer)
    names = [f"p{i}" for i in range(12)]
    groups = [[make.attempt(f"4/{name}/0", correct=True)] for name in names]
    started = time.perf_counter()
    found, counts = reflect(asked.lm, [make.problem(n) for n in names], groups, After(Reflector(), Critic()))
    assert asked.batches == [12, 11]
    assert counts["unparsed"] == 1 and sum(map(len, found)) == 11
    assert time.perf_counter() - started < 4


def test_more_problems_than_threads(answers: type, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_programs, "THREADS", 5)
    asked = answers(lambda prompt: said([prompt.split("Solve ")[1].split(".")[0]]))
    names = [f"p{i}" for i in range(12)]
    found, _ = reflect(
        asked.lm, [make.problem(n) for n in names], [[make.attempt(f"4/{n}/0", correct=True)] for n in names]
    )
    assert [insights[0].text for insights in found] == names
    assert asked.batches == [5, 5, 2]


def test_any_language_model_of_dspy_will_do(one: tuple[Any, Any]) -> None:
    """One without an engine, too."""
    lm = DummyLM([{"strategies": ["Use zog max."], "lessons": []}], adapter=StrictJSONAdapter())
    ((insight,),), _ = reflect(lm, *one)
    assert insight.text == "Use zog max."


def test_no_problems_no_calls(answers: type) -> None:
    assert reflect(answers("").lm, [], []) == ([], {"calls": 0, "unparsed": 0, "dropped": 0})


def failing(error: Exception) -> dspy.LM:
    def answer(jobs: Any) -> Any:
        raise error

    engine = BatchingEngine(answer, model_name="broken", sampling=Sampling())
    return dspy.LM("local/broken", engine=engine, cache=False, num_retries=0)


def test_an_error_of_the_policy_stays_one(one: tuple[Any, Any]) -> None:
    """DSPy wraps it; the command line must still see what to type."""
    with pytest.raises(PolicyError, match="too long") as error:
        reflect(failing(PolicyError("too long", "Lower pipeline.attempt_chars.")), *one)
    assert error.value.hint == "Lower pipeline.attempt_chars."


def test_an_error_of_the_machine_is_no_unparsed_answer(one: tuple[Any, Any]) -> None:
    with pytest.raises(Exception, match="out of memory"):
        reflect(failing(RuntimeError("out of memory")), *one)


def test_the_cache_is_off(one: tuple[Any, Any], make: SimpleNamespace, answers: type) -> None:
    """The same prompt to a policy that has changed since: even an LM made with its cache on is asked again."""
    count = iter(range(10))
    asked = answers(lambda prompt: said([f"answer {next(count)}"]))
    lm = dspy.LM("local/scripted", engine=asked.lm._engine_spec, num_retries=0)
    texts = [reflect(lm, *one)[0][0][0].text for _ in range(2)]
    assert texts == ["answer 0", "answer 1"]
    assert asked.prompts[0] == asked.prompts[1]


# --- generalisation ---------------------------------------------------------------------------------------------------


def generalise(
    answer: Callable[[str], str] | str,
    clusters: Sequence[tuple[str, Sequence[Insight]]],
    answers: type,
    **limits: int,
) -> tuple[list[Behavior], dict[str, int]]:
    known: dict[str, Any] = {"step": 9, "policy_version": 8, "max_behaviors": 8, "behavior_chars": 100}
    return generalise_all(Generaliser(), answers(answer).lm, clusters, **(known | limits))


def rules(*texts: str) -> str:
    return json.dumps({"behaviors": texts})


@pytest.fixture
def clusters(make: SimpleNamespace) -> list[tuple[str, list[Insight]]]:
    """`a` has insights of three problems, `b` of one, `c` none."""
    return [
        ("a", [make.insight(p, "Use zog max.", n) for n, p in enumerate(("p", "p", "q", "r"))]),
        ("b", [make.insight("s", "Use vit add.")]),
        ("c", []),
    ]


def test_behaviors_cite_the_insights_behind_them(answers: type, clusters: Any) -> None:
    found, counts = generalise(rules("zog: Use zog max."), clusters[:1], answers)
    sources = ("0/p/0", "0/p/1", "0/q/2", "0/r/3")
    assert "Generaliser#" in found[0].program
    assert [replace(b, program="") for b in found] == [
        Behavior("9/behavior_zog", "behavior_zog", "Use zog max.", "a", 3, sources, 9, 8, problems=3)
    ]
    assert counts == {"calls": 1, "unparsed": 0, "dropped": 0, "unsupported": 0}


def test_only_the_insights_that_say_a_rule_are_cited(answers: type, make: SimpleNamespace) -> None:
    texts = ["Use zog max.", "Never zog max.", "Use zog sub.", "use zog max", "Use vit max."]
    cluster = ("c", [make.insight(f"p{n}", text) for n, text in enumerate(texts)])
    (behavior,), counts = generalise(rules("zog: Use zog max."), [cluster], answers)
    assert (behavior.support, behavior.problems, behavior.sources) == (2, 5, ("0/p0/0", "0/p3/0"))
    assert behavior.support_in_words == "2 of 5 problems in its cluster" and counts["unsupported"] == 0


@pytest.mark.parametrize("rule", ["zog: Use zog sub.", "zog: Never zog max.", "zog: 12.", "zog: Use fip add."])
def test_a_rule_that_nobody_says_is_dropped_and_counted(answers: type, clusters: Any, rule: str) -> None:
    found, counts = generalise(rules(rule, "zog: Use zog max."), clusters[:1], answers)
    assert [b.text for b in found] == ["Use zog max."] and counts["unsupported"] == 1


def test_a_sentence_of_no_content_is_dropped(answers: type, clusters: Any) -> None:
    found, counts = generalise(rules("12.", "..."), clusters[:1], answers)
    assert not found and counts["dropped"] == 2


@pytest.mark.parametrize("order", [1, -1])
def test_of_one_name_the_better_supported_rule_is_kept(answers: type, clusters: Any, order: int) -> None:
    def answer(prompt: str) -> str:
        return (
            rules("Rule one: Use zog max.") if "zog" in prompt else rules("rule ONE: Use vit add.", "other: vit add.")
        )

    found, counts = generalise(answer, clusters[::order], answers)
    assert [(b.name, b.text, b.cluster) for b in found] == [
        ("behavior_other", "vit add.", "b"),
        ("behavior_rule_one", "Use zog max.", "a"),
    ]
    assert counts["calls"] == 2, "a cluster without insights takes no call"


def test_a_cluster_that_does_not_parse_is_counted(answers: type, clusters: Any) -> None:
    found, counts = generalise(lambda prompt: rules("r: zog max.") if "zog" in prompt else "hm", clusters, answers)
    assert [b.cluster for b in found] == ["a"]
    assert counts == {"calls": 2, "unparsed": 1, "dropped": 0, "unsupported": 0}


def test_limits_of_behaviors(answers: type, clusters: Any) -> None:
    texts = ("a: zog max.", "a: zog max.", "", "y" * 31, "b: zog max.", "c: zog max.")
    found, counts = generalise(rules(*texts), clusters[:1], answers, max_behaviors=2, behavior_chars=30)
    assert [b.name for b in found] == ["behavior_a", "behavior_b"]
    assert counts["dropped"] == 4


@pytest.mark.parametrize(
    ("text", "name", "rule"),
    [
        ("verify atom counts: Count atoms first.", "behavior_verify_atom_counts", "Count atoms first."),
        ("Verify Atom-Counts:Count atoms.", "behavior_verify_atom_counts", "Count atoms."),
        ("behavior_verify_atoms: Count.", "behavior_verify_atoms", "Count."),
        ("operator zog: Use zog max.", "behavior_operator_zog", "Use zog max."),
        ("Use zog max.", "behavior_use_zog_max", "Use zog max."),
        ("a: b: c", "behavior_a", "b: c"),
        ("name:", "behavior_name", "name:"),
        (": rule", "behavior_unnamed", "rule"),
        ("!!!", "behavior_unnamed", "!!!"),
        ("behavior: rule", "behavior_behavior", "rule"),
        (
            "one two three four five six seven eight nine: rule",
            "behavior_one_two_three_four_five_six_seven_eight",
            "one two three four five six seven eight nine: rule",
        ),
        ("größe prüfen: Immer.", "behavior_größe_prüfen", "Immer."),
    ],
)
def test_a_name_and_a_rule(text: str, name: str, rule: str) -> None:
    assert name_and_rule(text) == (name, rule)
