"""Mistakes that a Python user makes: each is told in one sentence, and nothing is lost by it."""

from __future__ import annotations

import threading
from typing import Any

import dspy
import pytest

from pmd_agent import PMDError, Problem, Run
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
