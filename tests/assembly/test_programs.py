"""Programs are state: what they were told and shown is kept with the run, and comes back with it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from pmd_agent.assembly.start import start
from pmd_agent.console import Console
from pmd_agent.errors import PipelineError, PMDError
from pmd_agent.pipelines import After, Critic, Reflector
from pmd_agent.pipelines.program_id import program_of
from pmd_agent.pipelines.state import read_state, restore, settle, state_of, write_state
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.runs.whole import SEAL, seal
from pmd_agent.types import Attempt, ProblemView

STEPS = 4


class Mine(dspy.Module):  # type: ignore[misc]
    """A reflector that passes the objects on, and fails when it is told to."""

    fails_at: int | None = None
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("problem, attempts -> strategies: list[str], lessons: list[str]")

    def forward(self, problem: Any, experiences: Any) -> dspy.Prediction:
        Mine.calls += 1
        if Mine.fails_at is not None and Mine.calls > Mine.fails_at:
            raise KeyboardInterrupt
        found = self.ask(problem=problem, attempts=experiences)
        return dspy.Prediction(strategies=[f"Look at {problem.id}."], lessons=found.lessons)


@pytest.fixture(autouse=True)
def _whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mine, "fails_at", None)
    monkeypatch.setattr(Mine, "calls", 0)


def tuned() -> Mine:
    """As an optimiser leaves it: another instruction, and examples that hold the objects it was called with."""
    module = Mine()
    module.ask.signature = module.ask.signature.with_instructions("Say what the correct ones share.")
    attempts = [Attempt("0/x/0", "It is 3.", False, 0.0, "No."), Attempt("0/x/1", "It is 4.", True, 1.0)]
    module.ask.demos = [
        dspy.Example(
            augmented=True, problem=ProblemView("x", "2 + 2?"), attempts=attempts, strategies=["Add."], lessons=[]
        )
    ]
    return module


def recipe_in(folder: Path, name: str = "one", **settings: Any) -> Recipe:
    found: Recipe = parse_recipe(
        {
            "name": name, "runs": str(folder), "steps": STEPS, "checkpoint_every": 2,
            "problems": {"type": "world", "train": 4, "validation": 0, "test": 1},
            "policy": {"type": "scripted", "answers": ["<answer> 1 </answer>", "<answer> 2 </answer>"]},
            "rollout": {"problems": 2, "samples": 2},
            "pipeline": {"every": 2},
            "evaluate": {"samples": 1, "every": 0},
        }
        | settings
    )  # fmt: skip
    return found


def go(recipe: Recipe, **given: Any) -> Path:
    return start(recipe, console=Console(io.StringIO(), io.StringIO()), **given)


def sent(run: Path) -> list[bytes]:
    """Every message to the programs' model, in files a step."""
    return [path.read_bytes() for path in sorted((run / "programs").glob("step-*.jsonl"))]


def interrupted(recipe: Recipe, after: int, **given: Any) -> None:
    """A run that ends in its step `after` + 1 without having committed it."""
    Mine.calls, Mine.fails_at = 0, 2 * after + 1
    with pytest.raises(KeyboardInterrupt):
        go(recipe, **given)
    Mine.calls, Mine.fails_at = 0, None


@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("again", [tuned, None], ids=["given again", "by its name"])
def test_a_tuned_reflector_sends_after_a_kill_what_it_would_have_sent(
    tmp_path: Path, after: int, again: Callable[[], Any] | None
) -> None:
    whole = go(recipe_in(tmp_path, "whole"), reflector=tuned())
    broken = recipe_in(tmp_path, "broken")
    interrupted(broken, after, reflector=tuned())
    go(broken, resume=True, **({"reflector": again()} if again else {}))
    messages = sent(whole)
    assert sent(tmp_path / "broken") == messages and len(messages) == STEPS
    lines = [json.loads(line) for one in messages for line in one.splitlines()]
    runs = [line for line in lines if "calls" in line and "Mine#" in line["program"]]
    assert sum(len(line["calls"]) for line in runs) == STEPS * 2
    text = b"".join(messages).decode()
    assert "Say what the correct ones share." in text and "It is 4." in text, "the tuned one was never asked"


def test_without_its_state_the_messages_differ(tmp_path: Path) -> None:
    """The test above can fail."""
    whole, plain = (
        go(recipe_in(tmp_path, "whole"), reflector=tuned()),
        go(recipe_in(tmp_path, "plain"), reflector=Mine()),
    )
    assert sent(whole) != sent(plain)


def test_what_the_run_made_of_it_comes_back_with_the_one_that_was_given(tmp_path: Path) -> None:
    """A step has changed the reflector, as pipeline.optimise does: the checkpoint has it, and the fresh instance gets it."""
    recipe = recipe_in(tmp_path, steps=2)
    run = go(recipe, reflector=Mine())
    (checkpoint,) = (run / "checkpoints").glob("step-000002")
    write_state(tuned(), checkpoint / "reflector.json")
    seal(checkpoint)
    go(recipe_in(tmp_path), resume=True, reflector=Mine())
    assert b"Say what the correct ones share." not in b"".join(sent(run)[:2])
    assert all(b"Say what the correct ones share." in one for one in sent(run)[2:])


def test_a_better_one_is_put_back_and_stays(tmp_path: Path) -> None:
    run = go(recipe_in(tmp_path, steps=2), reflector=Mine())
    longer = recipe_in(tmp_path)
    interrupted(longer, 0, resume=True, reflector=tuned())
    go(longer, resume=True)  # not given again: nothing was committed since
    assert all(b"Say what the correct ones share." in one for one in sent(run)[2:])
    kept = Mine()
    kept.load(str(run / "programs" / "reflector.json"))
    assert kept.ask.signature.instructions == "Say what the correct ones share." and len(kept.ask.demos) == 1


def test_a_shipped_class_that_is_given_goes_on_from_the_command_line(tmp_path: Path) -> None:
    """A recipe that names the same class is no other recipe."""
    module = Reflector()
    module.contrast.signature = module.contrast.signature.with_instructions("Contrast.")
    module.postmortem.signature = module.postmortem.signature.with_instructions("Say what failed.")
    run = go(recipe_in(tmp_path, steps=2), reflector=module)
    go(recipe_in(tmp_path), resume=True)
    assert all(b"Say what failed." in one for one in sent(run)) and len(sent(run)) == STEPS


@pytest.mark.parametrize("module", ["notebook", "composed"])
def test_one_that_has_no_name_to_be_found_by_is_asked_for(tmp_path: Path, module: str) -> None:
    class Notebook(Mine):
        pass

    def make() -> dspy.Module:
        return Notebook() if module == "notebook" else After(Reflector(), Critic())

    if module == "notebook":
        Notebook.__module__, Notebook.__qualname__ = "__main__", "Notebook"
    run = go(recipe_in(tmp_path, steps=2), reflector=make())
    with pytest.raises(PipelineError, match="started from Python with a reflector") as caught:
        go(recipe_in(tmp_path), resume=True)
    assert "resume=True, reflector=..." in caught.value.hint
    go(recipe_in(tmp_path), resume=True, reflector=make())
    assert len(sent(run)) == STEPS


def test_a_state_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    run = go(recipe_in(tmp_path, steps=2))
    (checkpoint,) = (run / "checkpoints").glob("step-000002")
    (checkpoint / "reflector.json").write_text('{"other": {}}')
    seal(checkpoint)
    with pytest.raises(PMDError, match="does not fit Reflector") as caught:
        go(recipe_in(tmp_path), resume=True)
    assert "--name" in caught.value.hint
    (checkpoint / "reflector.json").write_text("[")
    seal(checkpoint)
    with pytest.raises(PMDError, match="cannot be read"):
        go(recipe_in(tmp_path), resume=True)


def test_a_run_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    run = go(recipe_in(tmp_path, steps=2))
    for path in [*run.glob("checkpoints/*/*.json"), *run.glob(f"checkpoints/*/{SEAL}"), *run.glob("programs/*.json")]:
        path.unlink()
    go(recipe_in(tmp_path), resume=True)
    assert len(sent(run)) == STEPS


# --- state ----------------------------------------------------------------------------------------------------------


def test_state_is_plain_and_comes_back(tmp_path: Path) -> None:
    module = tuned()
    write_state(module, tmp_path / "m.json", step=3)
    state, about = read_state(tmp_path / "m.json")
    assert about["step"] == 3 and "dspy" in about["dependency_versions"]
    other = Mine()
    restore(other, state)
    assert state_of(other) == state_of(module) == state
    assert other.ask.demos[0]["problem"] == "2 + 2?"
    assert other.ask.demos[0]["attempts"] == ["failed\nIt is 3.\nfeedback: No.", "correct\nIt is 4."]


def test_settled_it_sends_what_it_sent_before(answers: Any) -> None:
    def prompts(module: Mine) -> Any:
        asked = answers('{"strategies": [], "lessons": []}')
        with dspy.context(lm=asked.lm):
            module(
                problem=ProblemView("p", "1 + 1?"),
                experiences=[Attempt("i", "2", True, 1.0), Attempt("j", "3", False, 0.0)],
            )
        return asked.prompts

    assert prompts(tuned()) == prompts(settle(tuned()))  # type: ignore[arg-type]


def test_examples_and_instructions_are_part_of_a_program_s_name() -> None:
    plain, other = Mine(), tuned()
    names = {program_of(plain, "m"), program_of(other, "m")}
    other.ask.demos = []
    assert len(names | {program_of(other, "m")}) == 3
    assert program_of(tuned(), "m") == program_of(settle(tuned()), "m"), "the same after a resume"


def test_models_of_a_module_s_own_are_not_written_down(tmp_path: Path, answers: Any) -> None:
    module = tuned()
    module.ask.lm = answers("").lm
    write_state(module, tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["ask"]["lm"] is None
    settle(module)
    assert module.ask.lm is not None
