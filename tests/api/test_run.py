"""pmd_agent.Run with a scripted policy: steps, leaving and going on, objects that are given, memory beside a running run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import dspy
import pytest

from pmd_agent import Behavior, Insight, PMDError, Problem, Run, Verdict
from pmd_agent.errors import MemoryStoreError, ProblemError, RecipeError, RunError
from pmd_agent.recipe import load_recipe
from pmd_agent.runs.lock import is_locked_here


def check(problem: Problem, text: str) -> bool:
    return text == problem.answer


class Checker:
    def verify(self, problem: Problem, text: str) -> Verdict:
        return Verdict(float(text == problem.answer), text == problem.answer, answer=text)


class Mine(dspy.Module):  # type: ignore[misc]
    """Says how many attempts it was given."""

    def forward(self, problem: Any, experiences: Any) -> Any:
        return dspy.Prediction(strategies=[f"Seen {len(experiences)} attempts at {problem.prompt}"], lessons=[])


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


def make(recipe: dict[str, Any], problems: list[Problem], **more: Any) -> Run:
    more = {"verifier": check, "test": problems[:2], "validation": [], "quiet": True} | more
    return Run.create(recipe, problems=problems[2:], **more)


def test_steps_one_by_one(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = make(scripted, problems)
    assert not run.path.exists() and run.next_step == 0 and not run.finished
    steps = []
    for step in run:
        steps.append(step)
        assert run.next_step == step.number + 1, "committed before it is seen"
    assert [s.number for s in steps] == [0, 1, 2] and {s.steps for s in steps} == {3}
    assert [dict(s.metrics) for s in steps] == run.metrics()
    first = steps[0]
    assert len(first.problems_P) == 4 and all(len(group) == 2 for group in first.rollouts_PG)
    for problem, rollouts, verdicts in zip(first.problems_P, first.rollouts_PG, first.verdicts_PG, strict=True):
        assert [r.text for r in rollouts] == ["4", "6"] and {r.problem_id for r in rollouts} == {problem.id}
        assert [v.correct for v in verdicts] == [problem.answer == "4", problem.answer == "6"]
    assert run.finished and run.summary is not None and run.summary["steps"] == 3
    assert list(run) == [] and run.finish() is run
    assert run.evaluate()["problems"] == 2 and run.evaluate(problems[2:3])["avg"] == 1.0


def test_left_and_gone_on_with(scripted: dict[str, Any], problems: list[Problem]) -> None:
    unbroken = make(scripted, problems).finish()
    run = make(scripted | {"name": "two", "checkpoint_every": 2}, problems)
    numbers = []
    for step in run:
        numbers.append(step.number)
        break
    assert is_locked_here(run.path)
    numbers += [step.number for step in run]
    assert numbers == [0, 1, 2], "no step is made twice, though the first one had no checkpoint"
    assert not is_locked_here(run.path)
    assert without_times(run.metrics()) == without_times(unbroken.metrics())


def test_closed_and_opened_again(scripted: dict[str, Any], problems: list[Problem]) -> None:
    unbroken = make(scripted, problems).finish()
    with make(scripted | {"name": "two"}, problems) as run:
        next(iter(run))
    assert not is_locked_here(run.path) and run.next_step == 1 and run.summary is None
    again = Run.open(run.path, verifier=check, quiet=True)
    assert [step.number for step in again] == [1, 2]
    assert without_times(again.metrics()) == without_times(unbroken.metrics())
    assert run.summary is not None and run.summary["final"]["free"] == (unbroken.summary or {})["final"]["free"]


def test_a_cell_that_is_run_again(scripted: dict[str, Any], problems: list[Problem]) -> None:
    first = make(scripted, problems, resume=True)
    next(iter(first))
    second = make(scripted, problems, resume=True)
    assert [step.number for step in second] == [1, 2], (
        "the later object has the run, though the earlier one was not closed"
    )
    assert list(first) == []


def test_a_run_is_not_overwritten_nor_resumed_by_chance(scripted: dict[str, Any], problems: list[Problem]) -> None:
    make(scripted, problems).finish()
    with pytest.raises(RunError, match="never overwritten"):
        make(scripted, problems)
    with pytest.raises(RunError, match="other problems"):
        make(scripted | {"steps": 4}, problems[1:], resume=True).finish()
    assert make(scripted | {"steps": 4}, problems, resume=True).finish().next_step == 4


def test_a_step_that_fails_is_made_again(scripted: dict[str, Any], problems: list[Problem]) -> None:
    fails = [True]

    def once(problem: Problem, text: str) -> bool:
        if problem.id == "p/5" and fails:
            raise KeyboardInterrupt
        return text == problem.answer

    run = make(scripted, problems, verifier=once)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert not is_locked_here(run.path)
    fails.clear()
    assert run.finish().finished
    plain = make(scripted | {"name": "two"}, problems, verifier=once).finish()
    assert without_times(run.metrics()) == without_times(plain.metrics())


def test_problems_are_kept_in_the_folder(scripted: dict[str, Any], problems: list[Problem]) -> None:
    rows = [{"prompt": f"{i}?", "answer": i, "kind": "sums", "hint": (1, 2)} for i in range(20)]
    run = Run.create(scripted, problems=rows, quiet=True)
    next(iter(run))
    run.close()
    kept = [json.loads(line) for line in (run.path / "problems.jsonl").read_text().splitlines()]
    assert sorted(row["prompt"] for row in kept) == sorted(row["prompt"] for row in rows)
    parts = [row["split"] for row in kept]
    assert (parts.count("train"), parts.count("validation"), parts.count("test")) == (17, 1, 2)
    assert kept[0]["data"] == {"hint": [1, 2]} and "<answer>" in kept[0]["system"] and kept[0]["id"] == "train/1"
    recipe = load_recipe(run.path / "recipe.yaml")
    assert recipe.problems.type == "given" and recipe.problems.verifier == "exact"
    done = subprocess.run(
        [sys.executable, "-m", "pmd_agent", "run", str(run.path / "recipe.yaml"), "--resume"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Run.open(run.path).finished


def test_what_cannot_be_kept_or_used_is_said(scripted: dict[str, Any], problems: list[Problem]) -> None:
    with pytest.raises(ProblemError, match="cannot be kept"):
        Run.create(scripted, problems=[Problem(f"{i}", "?", "1", data={"x": {1}}) for i in range(9)])
    with pytest.raises(ProblemError, match="there twice"):
        Run.create(scripted, problems=problems, test=problems[:1])
    with pytest.raises(ProblemError, match="no 'prompt'"):
        Run.create(scripted, problems=[{"question": "?", "answer": "1"}] * 3)
    with pytest.raises(RunError, match="none to practise on"):
        Run.create(scripted, test=problems)
    with pytest.raises(RecipeError, match="cannot be called with"):
        make(scripted, problems, verifier=lambda text: True).finish()


def test_a_verifier_is_found_again_or_given_again(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = make(scripted, problems, verifier=Checker()).finish()
    assert load_recipe(run.path / "recipe.yaml").problems.verifier == f"given:{__name__}.Checker"
    with pytest.raises(RecipeError, match=r"Checker was given as an object.*\n.*Run.open"):
        Run.open(run.path, quiet=True).evaluate()
    assert Run.open(run.path, verifier=Checker(), quiet=True).evaluate()["problems"] == 2
    with pytest.raises(RunError, match="other code"):
        Run.open(run.path, verifier=lambda problem, text: True)
    from pmd_agent.assembly.given import name_of

    assert name_of(json.dumps) == "json:dumps" and name_of(json.JSONEncoder().encode).startswith("given:json")


def test_a_reflector_that_only_this_process_knows(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = make(scripted, problems, reflector=Mine()).finish()
    recipe = (run.path / "recipe.yaml").read_text()
    (run.path / "recipe.yaml").write_text(recipe.replace(f"{__name__}:Mine", "__main__:Mine"))
    assert Run.open(run.path, verifier=check, quiet=True).evaluate(with_memory=True)["problems"] == 2
    with run.memory() as memory:
        assert memory.list("insight")[0].text.startswith("Seen 2 attempts at What is")


# ---- memory


def test_memory_is_read_between_steps_and_from_another_thread(
    scripted: dict[str, Any], problems: list[Problem]
) -> None:
    run = make(scripted, problems, reflector=Mine())
    seen: list[int] = []

    def count() -> None:
        with Run.open(run.path).memory() as memory:
            seen.append(len(memory.list("experience")))

    for step in run:
        with run.memory() as memory:
            assert memory.next_step == step.number + 1
            assert {e.step for e in memory.list("experience")} == set(range(step.number + 1))
        thread = threading.Thread(target=count)
        thread.start()
        thread.join()
    assert seen == [8, 16, 24]


def test_memory_of_a_half_step_is_not_seen(scripted: dict[str, Any], problems: list[Problem]) -> None:
    seen = []

    def look(problem: Problem, text: str) -> bool:
        if run.next_step:  # in the middle of a later step
            with run.memory() as memory:
                seen.append((run.next_step, {e.step for e in memory.list()}))
        return text == problem.answer

    run = make(scripted, problems, verifier=look)
    run.finish()
    assert len(seen) > 8 and all(steps == set(range(next_step)) for next_step, steps in seen)


def test_recall(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = make(scripted, problems, reflector=Mine()).finish()
    with run.memory() as memory:
        found = memory.recall("What is 2 + 2?")
        assert found == memory.recall("p/2") == memory.recall(problems[2])
        assert found.text.startswith("Notes from practice.") and "Seen 2 attempts at What is 2 + 2?" in found.text
        assert found.text.endswith("What is 2 + 2?") and found.tokens == len(found.text.encode()) < found.budget
        assert {e.id for e in found.entries} == {c.id for c in found.why if c.share == 1} and len(found.entries) == 2
        insight = next(e for e in found.entries if isinstance(e, Insight))
        assert {s.problem_id for s in memory.sources(insight)} == {"p/2"} and memory.get(insight.id) == insight
        assert memory.search("Seen attempts", "insight", k=1)[0][1] > 0.1
        stranger = memory.recall("Nothing like it")
        assert stranger.text == "Nothing like it" and not stranger.entries


def test_by_hand(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = make(scripted, problems, reflector=Mine())
    with pytest.raises(RunError, match="has not begun"):
        run.memory()
    next(iter(run))
    with pytest.raises(RunError, match="being run by this process"):
        run.memory(write=True)
    with run.memory() as memory, pytest.raises(RunError, match="opened to be read"):
        memory.add_behavior("doubling", "Doubling is adding a number to itself.")
    run.close()
    with run.memory(write=True) as memory:
        rule = memory.add_behavior("doubling", "Doubling is adding a number to itself.")
        lesson = memory.add_insight("p/2", "Never answer 6.", kind="lesson")
        with pytest.raises(MemoryStoreError, match="in use"):
            next(iter(Run.open(run.path, verifier=check, reflector=Mine(), quiet=True)))
        with pytest.raises(RunError, match="no such problem"):
            memory.add_insight("p/99", "Never.")
    assert isinstance(rule, Behavior) and (rule.name, rule.program, rule.step) == ("behavior_doubling", "by hand", 0)
    assert rule.id != lesson.id
    next(iter(run))
    run.close()
    assert run.next_step == 2
    with run.memory() as memory:
        assert memory.get(rule.id) == rule and memory.list("behavior") == [rule]
        assert lesson in memory.recall("p/2").entries
    assert run.finish().finished


def test_by_hand_before_the_first_step(scripted: dict[str, Any], problems: list[Problem]) -> None:
    def stop(problem: Problem, text: str) -> bool:
        raise KeyboardInterrupt

    run = make(scripted, problems, verifier=stop)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert run.next_step == 0
    with run.memory(write=True) as memory:
        rule = memory.add_behavior("doubling", "Doubling is adding a number to itself.")
        assert memory.add_behavior("halving", "Halve.").id != rule.id
    again = Run.open(run.path, verifier=stop, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        again.finish()
    with run.memory() as memory:
        assert rule in memory.list("behavior"), "not taken for what a killed import left"


# ---- policy


def test_the_policy(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = make(scripted, problems).finish()
    with run.policy() as policy:
        assert policy("2 + 2?") == "4" and policy("2 + 2?", n=3) == ["4", "6", "4"]
        assert policy(["a", problems[0]]) == ["4", "6"] and policy(["a", "b"], n=1) == [["4"], ["6"]]
        assert isinstance(policy.lm(), dspy.LM)
    with pytest.raises(RunError, match="has no server"):
        run.policy(server=True)


def test_a_run_that_learns_needs_its_adapter(scripted: dict[str, Any], problems: list[Problem]) -> None:
    run = make(scripted, problems).finish()
    recipe = (run.path / "recipe.yaml").read_text().split("policy:")[0] + "policy: {type: local, model: box}\n"
    (run.path / "recipe.yaml").write_text(recipe)
    with pytest.raises(PMDError, match=r"has no adapter yet.*\n.*adapter=False"):
        Run.open(run.path, quiet=True).policy()
