"""pipeline.optimise in whole runs of a scripted policy: what the optimiser reads, what is taken over, and what a kill leaves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, ClassVar

import dspy
import pytest

from pmd_agent.assembly.start import start
from pmd_agent.console import Console
from pmd_agent.errors import PipelineError, RecipeError
from pmd_agent.pipelines.optimisers import better
from pmd_agent.pipelines.training_set import training_set
from pmd_agent.problems import load_problems
from pmd_agent.recipe import Recipe, load_recipe, parse_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Attempt, ProblemView

BETTER = "Say what is good."


class Says(dspy.Module):  # type: ignore[misc]
    """Says something good once it is told to."""

    calls: ClassVar[int] = 0
    ends_at: ClassVar[int | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("problem, attempts -> strategies: list[str], lessons: list[str]")

    def forward(self, problem: Any, experiences: Any) -> dspy.Prediction:
        Says.calls += 1
        if Says.ends_at is not None and Says.calls > Says.ends_at:
            raise KeyboardInterrupt
        self.ask(problem=problem, attempts=experiences)
        told = self.ask.signature.instructions == BETTER
        return dspy.Prediction(strategies=[], lessons=["It is good." if told else "It is bad."])


class Tells:
    """An optimiser that knows the instruction."""

    seen: ClassVar[list[tuple[list[dspy.Example], list[dspy.Example]]]] = []
    instruction: ClassVar[str] = BETTER

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def compile(self, student: Any, *, trainset: list[Any], valset: list[Any]) -> Any:
        Tells.seen.append((trainset, valset))
        student.ask.signature = student.ask.signature.with_instructions(Tells.instruction)
        student.ask.demos = [dspy.Example(problem=trainset[0].problem, attempts=trainset[0].experiences, lessons=["x"])]
        return student


class Breaks(Tells):
    def compile(self, student: Any, **sets: Any) -> Any:
        raise ZeroDivisionError("no examples")


def grade(example: dspy.Example, prediction: Any, trace: Any = None) -> float:
    return float(prediction.lessons == ["It is good."])


def recipe_in(folder: Path, name: str = "one", optimiser: str = "Tells", **settings: Any) -> Recipe:
    found: Recipe = parse_recipe(
        {
            "name": name, "runs": str(folder), "steps": 5,
            "problems": {"type": "world", "train": 8, "validation": 0, "test": 1},
            "policy": {"type": "scripted", "answers": ["<answer> 1 </answer>", "<answer> 2 </answer>"]},
            "rollout": {"problems": 4, "samples": 2},
            "evaluate": {"samples": 1, "every": 0},
            "pipeline": {
                "reflector": f"{__name__}:Says",
                "optimise": {"every": 2, "optimiser": f"{__name__}:{optimiser}", "metric": f"{__name__}:grade", "budget": 8},
            },
        }
        | settings
    )  # fmt: skip
    return found


def go(recipe: Recipe, **given: Any) -> Path:
    return start(recipe, console=Console(io.StringIO(), io.StringIO()), **given)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def sent(run: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((run / "programs").glob("step-*.jsonl"))]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Says, "calls", 0)
    monkeypatch.setattr(Says, "ends_at", None)
    monkeypatch.setattr(Tells, "seen", [])
    monkeypatch.setattr(Tells, "instruction", BETTER)


def test_a_better_reflector_takes_over_and_is_kept(tmp_path: Path) -> None:
    run = go(recipe_in(tmp_path))
    rows = metrics(run)
    assert [row.get("optimised") for row in rows] == [None, 1.0, None, 0.0, None]
    assert (rows[1]["optimise_before"], rows[1]["optimise_after"]) == (0.0, 1.0)
    assert (rows[3]["optimise_before"], rows[3]["optimise_after"]) == (1.0, 1.0), "no better than itself"
    assert [BETTER.encode() in one for one in sent(run)] == [False, False, True, True, True]
    state = json.loads((run / "programs" / "reflector.json").read_text())
    assert state["ask"]["signature"]["instructions"] == BETTER and len(state["ask"]["demos"]) == 1
    programs = {line["program"] for one in sent(run) for line in map(json.loads, one.splitlines()) if "program" in line}
    assert len({name for name in programs if "Says#" in name}) == 2, "memories name the program that wrote them"


def test_it_reads_committed_steps_and_holds_problems_out(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    run = RunDir.open(go(recipe))
    first, second = Tells.seen
    for (train, held_out), steps in ((first, {0}), (second, {0, 1, 2})):
        assert {e.step for e in train + held_out} <= steps and train and held_out
        names = [e.problem.id for e in train + held_out]
        assert len(names) == len(set(names)), "of each problem the newest, on one side"
    newest = {e.problem.id: e.step for e in training_set(run, load_problems(recipe.problems).train, before=3)}
    assert {e.problem.id: e.step for e in second[0] + second[1]}.items() <= newest.items() and len(newest) == 8


def test_one_that_is_no_better_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tells, "instruction", "Say anything.")
    run = go(recipe_in(tmp_path))
    assert [row.get("optimised") for row in metrics(run)] == [None, 0.0, None, 0.0, None]
    assert not any(b"Say anything." in one for one in sent(run))


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_killed_and_resumed_it_sends_the_same(tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the step after so many commits, also in the one that tunes."""
    whole = go(recipe_in(tmp_path, "whole"))
    counts = [0]
    for row in metrics(whole):
        # 4 problems a step, and where it tunes 2 held-out problems before and after.
        counts.append(counts[-1] + 4 + (4 if "optimised" in row else 0))
    monkeypatch.setattr(Says, "calls", 0)
    monkeypatch.setattr(Says, "ends_at", counts[after] + 1)
    broken = recipe_in(tmp_path, "broken")
    with pytest.raises(KeyboardInterrupt):
        go(broken)
    assert RunDir.open(tmp_path / "broken").next_step == after
    monkeypatch.setattr(Says, "ends_at", None)
    go(broken, resume=True)
    assert sent(tmp_path / "broken") == sent(whole) and len(sent(whole)) == 5
    kept = ("optimised", "optimise_before", "optimise_after")
    assert [[row.get(k) for k in kept] for row in metrics(tmp_path / "broken")] == [
        [row.get(k) for k in kept] for row in metrics(whole)
    ]


def test_off_it_costs_nothing(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    off = recipe.pipeline.model_copy(update={"optimise": type(recipe.pipeline.optimise)()})
    run = go(recipe.model_copy(update={"pipeline": off}))
    assert not Tells.seen and all("optimised" not in row for row in metrics(run))


def test_an_optimiser_that_breaks_ends_the_run_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"Breaks failed: ZeroDivisionError: no examples \(.*test_optimise.py"
    ) as caught:
        go(recipe_in(tmp_path, optimiser="Breaks"))
    assert "--resume" in caught.value.hint
    assert RunDir.open(tmp_path / "one").next_step == 1


@pytest.mark.parametrize("optimiser", ["Absent", "grade"])
def test_one_that_is_not_there_is_missed_before_there_is_a_folder(tmp_path: Path, optimiser: str) -> None:
    with pytest.raises(PipelineError):
        go(recipe_in(tmp_path, optimiser=optimiser))
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"optimiser": "adam"}, "none of bootstrap, mipro, gepa"),
        ({"metric": "accuracy"}, "none of teacher_gain, support, parse"),
        ({"every": 2}, "set it to support"),
        ({"budget": 1}, "budget"),
    ],
)
def test_what_cannot_be_is_said_by_the_recipe(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        parse_recipe({"policy": {"type": "scripted"}, "pipeline": {"optimise": settings}})


def test_better_is_more_than_noise() -> None:
    assert better([0.1, 0.2, 0.3], [0.3, 0.4, 0.5])
    assert not better([0.1, 0.2, 0.3], [0.9, 0.0, 0.0]) and not better([0.5, 0.5], [0.5, 0.5])
    assert not better([0.1], [0.9]), "one example shows nothing"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("optimiser", ["bootstrap", "gepa"])
def test_the_policy_in_the_box_is_measured_and_the_run_goes_on(tmp_path: Path, optimiser: str) -> None:
    settings = [
        f"runs={tmp_path}", "steps=3", "problems.train=8", "problems.validation=1", "problems.test=1", "rollout.problems=4",
        "rollout.samples=4", "evaluate.every=0", "evaluate.with_memory=false", "pipeline.optimise.every=2",
        f"pipeline.optimise.optimiser={optimiser}", "pipeline.optimise.budget=8",
    ]  # fmt: skip
    run = go(load_recipe(Path(__file__).parents[2] / "recipes" / "quickstart.yaml", settings))
    measured = metrics(run)[1]
    assert 0 < measured["optimise_before"] < 1 and measured["optimised"] in (0.0, 1.0)
    assert len(metrics(run)) == 3 and metrics(run)[2]["reflections_calls"] == 4


# --- the training set -------------------------------------------------------------------------------------------------


def test_reflections_are_a_training_set(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    run = RunDir.open(go(recipe))
    problems = load_problems(recipe.problems).train
    found = training_set(run, problems)
    assert len(found) == 5 * 4 and [e.step for e in found] == [n // 4 for n in range(20)]
    for example in found:
        assert set(example.inputs().keys()) == {"problem", "experiences"}
        assert isinstance(example.problem, ProblemView) and {p.id: p.prompt for p in problems}[example.problem.id]
        assert [type(a) for a in example.experiences] == [Attempt, Attempt]
        assert example.strategies == [] and example.lessons in (["It is bad."], ["It is good."])
        assert example.gain is None, "nothing was learnt"
    assert [e.lessons for e in found[-4:]] == [["It is good."]] * 4
    golds = {p.id: p.answer for p in problems}
    assert all(set(e.answers) <= {golds[e.problem.id]} for e in found)
    assert len(training_set(run, problems, before=2)) == 8
    with pytest.raises(PipelineError, match="not among its problems"):
        training_set(run, problems[:1])


def test_how_it_fared_is_what_correct_rollouts_gained_over_wrong_ones(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, steps=1)
    run = RunDir.open(go(recipe))
    path = run.path / "rollouts" / "step-000000.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    one = rows[0]["problem"]
    for row, right, gain in zip([r for r in rows if r["problem"] == one], (True, False), (0.5, 0.2), strict=True):
        row |= {"taught_by": [f"0/{one}/lesson/0"], "teacher_gain": gain, "correct": right}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gains = {e.problem.id: e.gain for e in training_set(run, load_problems(recipe.problems).train)}
    assert gains.pop(one) == pytest.approx(0.3) and set(gains.values()) == {None}
