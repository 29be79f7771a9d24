"""Mistakes that a Python user makes: each is told in one sentence, and nothing is lost by it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest

from pmd_agent import PMDError, Problem, Run, Verdict
from pmd_agent.assembly.python_hints import in_python
from pmd_agent.policies.batching import BatchingEngine
from pmd_agent.types import Completion, Sampling


def check(problem: Problem, text: str) -> bool:
    return text == problem.answer


class Mine(dspy.Module):  # type: ignore[misc]
    def forward(self, problem: Any, experiences: Any) -> Any:
        return dspy.Prediction(strategies=[], lessons=[])


@pytest.mark.parametrize("given", [Mine, lambda problem, experiences: None, "mine"])
def test_a_reflector_that_is_no_module_is_refused_before_anything_is_made(
    scripted: dict[str, Any], problems: list[Problem], given: Any
) -> None:
    with pytest.raises(PMDError, match=r"no dspy\.Module"):
        Run.create(scripted, problems=problems, verifier=check, reflector=given, quiet=True)
    assert not (problems and Run.create(scripted, problems=problems, verifier=check, quiet=True).path.exists())


def test_a_run_that_has_ended_and_lost_its_state_is_not_begun_again(
    scripted: dict[str, Any], problems: list[Problem]
) -> None:
    run = Run.create(scripted, problems=problems, verifier=check, quiet=True).finish()
    metrics = (run.path / "metrics.jsonl").read_bytes()
    (run.path / "state.json").unlink()
    with pytest.raises(PMDError, match=r"state\.json is damaged: it is missing"):
        Run.open(run.path, verifier=check, quiet=True).finish()
    assert (run.path / "metrics.jsonl").read_bytes() == metrics


def test_evaluation_is_of_all_problems_that_are_given(scripted: dict[str, Any], problems: list[Problem]) -> None:
    recipe = scripted | {"evaluate": {"max_problems": 1, "samples": 1, "every": 0}}
    run = Run.create(recipe, problems=problems, verifier=check, quiet=True).finish()
    assert run.evaluate(problems[:4])["problems"] == 4 and run.evaluate(problems[:4], max_problems=2)["problems"] == 2
    for wrong in ({"problems": []}, {"problems": iter(())}, {"max_problems": 0}):
        with pytest.raises(PMDError):
            run.evaluate(**wrong)


def test_behaviors_by_hand_outlive_generalisations(scripted: dict[str, Any], problems: list[Problem]) -> None:
    recipe = scripted | {"steps": 4, "pipeline": {"every": 1}}
    run = Run.create(recipe, problems=problems, verifier=check, quiet=True)
    next(iter(run))
    run.close()
    with run.memory(write=True) as memory:
        memory.add_behavior("ties", "Round ties to even.")
        with pytest.raises(PMDError, match="strategy or a lesson"):
            memory.add_insight(problems[0], "x y", kind="bad")  # type: ignore[arg-type]
    run.finish()
    with run.memory() as memory:
        assert "Round ties to even." in [entry.text for entry in memory.list("behavior")]
        with pytest.raises(PMDError, match="no tier"):
            memory.list("behaviour")  # type: ignore[arg-type]


def test_a_question_asked_again_is_drawn_anew_only_where_that_is_wanted() -> None:
    seeds: list[int] = []

    def answer(batch: Any) -> list[Completion]:
        seeds.extend(sampling.seed for _, sampling in batch)
        return [Completion((1,), (2,), (0.0,), "a", "stop", 0) for _ in batch]

    engine = BatchingEngine(answer, model_name="m", sampling=Sampling(temperature=1.0))
    lm = dspy.LM("local/m", engine=engine, cache=False)
    lm("q"), lm("q")
    assert seeds[0] == seeds[1]
    engine.repeats_differ = True
    lm("q"), lm("q"), lm("q")
    assert seeds[2] == seeds[0] and len(set(seeds[2:])) == 3


def test_two_threads_may_load_at_one_time(tiny_folder: Any) -> None:
    from pmd_agent.models.loading import load_base

    found: list[Any] = []

    def load() -> None:
        try:
            found.append(load_base(str(tiny_folder), device="cpu"))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [f for f in found if isinstance(f, Exception)] and len(found) == 4


ODD: tuple[Any, ...] = (5, None, b"x", ["x"], {}, 2.5, object())


def test_whatever_is_given_to_a_memory_is_looked_at(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = Run.create(scripted, problems=problems, verifier=check, reflector=Mine(), quiet=True).finish()
    with run.memory() as memory:
        uses: list[Callable[[Any], object]] = [
            memory.search, memory.get, memory.recall, memory.sources, lambda odd: memory.search("x", odd or "none"),
            lambda odd: memory.search("x", k="3" if odd == 5 else odd), lambda odd: memory.list(odd or "none"),
        ]  # fmt: skip
        for use in uses:
            for odd in ODD:
                with pytest.raises(PMDError) as caught:
                    use(odd)
                assert caught.value.hint
        assert len(memory.search("4", k=np.int64(2))) == 2  # type: ignore[arg-type]
    with run.memory(write=True) as memory:
        for odd in ODD:
            for add in (
                lambda odd=odd: memory.add_behavior(odd, "x"), lambda odd=odd: memory.add_behavior("x", odd),
                lambda odd=odd: memory.add_insight(odd, "x"), lambda odd=odd: memory.add_insight("p/1", odd),
                lambda odd=odd: memory.add_insight("p/1", "x", odd),
            ):  # fmt: skip
                with pytest.raises(PMDError):
                    add()
        with pytest.raises(PMDError, match="no name"):
            memory.add_behavior("behavior_", "x")
    with run.policy() as policy:
        for odd in ODD:
            for settings in (
                {"n": odd or "2"},
                {"max_tokens": odd or "2"},
                {"seed": odd},
                {"temperature": odd or "2"},
                {"system": odd or 2},
            ):
                if (odd == 5 and "system" not in settings) or (odd == 2.5 and "temperature" in settings):
                    continue
                with pytest.raises(PMDError):
                    policy("a", **settings)  # type: ignore[call-overload]
            with pytest.raises(PMDError):
                policy([odd])
        assert len(policy("a", n=np.int64(3), max_tokens=np.int32(5), temperature=np.float32(1))) == 3  # type: ignore[call-overload]
        for settings in ({"n": 0}, {"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}):
            with pytest.raises(PMDError):
                policy("a", **settings)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "given", ["x.jsonl", Path("x.jsonl"), {"prompt": "?", "answer": "1"}, 5, b"x", Problem("p", "?", "1")]
)
def test_what_is_no_list_of_problems_is_said(given: Any, scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = Run.create(scripted, problems=problems, verifier=check, quiet=True).finish()
    uses: list[Callable[[], object]] = [
        lambda: Run.create(scripted | {"name": "two"}, problems=given),
        lambda: Run.create(scripted | {"name": "two"}, problems=problems, test=given),
        lambda: run.evaluate(given),
    ]
    for use in uses:
        with pytest.raises(PMDError, match="no list of problems") as caught:
            use()
        assert ("problems.path=FILE" if isinstance(given, str | Path) else "Give a list") in caught.value.hint


def test_numbers_of_numpy_are_numbers(scripted: dict[str, Any], problems: list[Problem]) -> None:
    rows = [
        {"prompt": f"{i}?", "answer": np.int64(i), "level": np.float32(0.5), "shape": np.array([1, 2])}
        for i in range(9)
    ]
    run = Run.create(scripted | {"steps": np.int64(1)}, problems=rows, quiet=True).finish()
    assert run.evaluate(max_problems=np.int64(1))["problems"] == 1  # type: ignore[arg-type]
    assert '"answer": "3"' in (run.path / "problems.jsonl").read_text()
    for odd in (True, 2.0, "2"):
        with pytest.raises(PMDError, match="max_problems"):
            run.evaluate(max_problems=odd)  # type: ignore[arg-type]


class TakesOther(dspy.Module):  # type: ignore[misc]
    def forward(self, attempts: Any) -> Any:
        return dspy.Prediction()


class WantsMore(dspy.Module):  # type: ignore[misc]
    def forward(self, problem: Any, experiences: Any, draft: Any) -> Any:
        return dspy.Prediction()


class NoForward(dspy.Module):  # type: ignore[misc]
    pass


class TakesAll(dspy.Module):  # type: ignore[misc]
    def forward(self, **given: Any) -> Any:
        return dspy.Prediction(strategies=[], lessons=[], behaviors=[])


def test_a_module_that_cannot_be_called_is_refused_before_anything_is_made(
    scripted: dict[str, Any], problems: list[Problem]
) -> None:
    for wrong in (TakesOther(), WantsMore(), NoForward()):
        for given in ({"reflector": wrong}, {"generaliser": wrong}):
            with pytest.raises(PMDError, match="cannot be called with") as caught:
                Run.create(scripted, problems=problems, verifier=check, quiet=True, **given)
            assert "def forward(self, " in caught.value.hint
    run = Run.create(
        scripted, problems=problems, verifier=check, quiet=True, reflector=TakesAll(), generaliser=TakesAll()
    )
    assert not run.path.exists() and run.finish().finished


def test_a_behavior_of_one_name_is_one(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = Run.create(scripted, problems=problems, verifier=check, quiet=True)
    next(iter(run))
    run.close()
    with run.memory(write=True) as memory:
        first = memory.add_behavior("round ties", "Round ties to even.")
        assert memory.add_behavior("behavior_round_ties", "Round ties to even.") == first
        second = memory.add_behavior("round ties", "Round ties up.")
        assert second.name == first.name == "behavior_round_ties" and second.id != first.id
        assert memory.list("behavior") == [second]
        assert first in memory.list("behavior", include_archived=True)
    run.finish()
    with run.memory() as memory:
        assert [e.text for e in memory.list("behavior")] == ["Round ties up."]


def test_a_folder_that_was_moved_is_said(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = Run.create(scripted, problems=problems, verifier=check, quiet=True)
    next(iter(run))
    moved = run.path.rename(run.path.with_name("moved"))
    for use in (lambda: next(iter(run)), run.metrics, lambda: run.next_step, run.finish):
        with pytest.raises(PMDError, match="moved or taken away") as caught:
            use()
        assert "Run.open" in caught.value.hint
    assert not run.path.exists(), "no second folder is begun"
    assert [s.number for s in Run.open(moved, verifier=check, quiet=True)] == [1, 2]


def test_hints_are_in_pythons_words(scripted: dict[str, Any], problems: list[Problem]) -> None:
    Run.create(scripted, problems=problems, verifier=check, quiet=True).finish()
    with pytest.raises(PMDError) as caught:
        Run.create(scripted, problems=problems, verifier=check)
    assert (
        "--" not in caught.value.hint and "Run.open(FOLDER)" in caught.value.hint and "name=NAME" in caught.value.hint
    )
    for hint, said in (
        (
            "Finish it with `pmd run runs/a/recipe.yaml --resume`, or x.",
            "Finish it with Run.open(runs/a).finish(), or x.",
        ),
        (
            "Make room; a run that has begun goes on with --resume.",
            "Make room; a run that has begun goes on with Run.open(FOLDER).",
        ),
        ("pmd run RECIPE --resume", "Run.open(FOLDER).finish()"),
        ("Give another folder with --to DIR.", "Give another folder with to=DIR."),
        ("Export the adapter itself: leave --merge out.", "Export the adapter itself: leave merge=True out."),
        ("chroma run --path FOLDER", "chroma run --path FOLDER"),
    ):
        assert in_python(hint) == said


def tells(problem: Problem, text: str) -> Verdict:
    return Verdict(0.0, False, feedback=f"The answer is {problem.answer}.")


def lists(problem: Problem, text: str) -> Verdict:
    return Verdict(0.0, False, feedback="One of 0, 2, 4, 6, 8, 10, 12 and 14 is right.")


@pytest.mark.parametrize(("verifier", "warned"), [(tells, True), (lists, False)])
def test_feedback_that_tells_the_answer_is_warned_of_once(
    scripted: dict[str, Any], problems: list[Problem], verifier: Any, warned: bool
) -> None:
    recipe = scripted | {"policy": {"type": "scripted", "answers": ["x", "y"]}}
    run = Run.create(recipe, problems=problems, verifier=verifier, quiet=True).finish()
    log = (run.path / "log.txt").read_text()
    assert log.count("feedback states the problem's answer") == int(warned)
    assert {line["answer_in_feedback"] for line in run.metrics()} == {1.0 if warned else 0.0}


def test_an_unfinished_run_is_evaluated_as_of_its_last_checkpoint(
    scripted: dict[str, Any], problems: list[Problem]
) -> None:
    run = Run.create(scripted, problems=problems, verifier=check, quiet=True)
    next(iter(run))
    assert run.evaluate(problems[:2])["problems"] == 2
    with run.policy() as policy:
        assert policy("a") == "4"
