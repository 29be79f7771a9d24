"""reasoning-gym's tasks: its own answers score 1, wrong ones less, texts and rewards arrive unchanged."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import load_problems
from pmd_agent.recipe import load_recipe
from pmd_agent.recipe.problems import ReasoningGymProblems
from pmd_agent.verifiers import verifier_of, verify_all

TASKS = (
    "chain_sum", "basic_arithmetic", "word_sorting", "letter_counting", "gcd", "lcm", "count_bits", "number_sorting",
    "base_conversion", "leg_counting",
)  # fmt: skip
installed = pytest.mark.skipif(not importlib.util.find_spec("reasoning_gym"), reason="pip install reasoning-gym")
quiet = pytest.mark.filterwarnings("ignore")


def section(**keys: Any) -> ReasoningGymProblems:
    return ReasoningGymProblems(**({"tasks": TASKS[:1], "train": 6, "test": 3, "validation": 1} | keys))


@installed
@quiet
@pytest.mark.parametrize("task", TASKS)
def test_its_own_answers_score_one_and_wrong_ones_less(task: str) -> None:
    asked = section(tasks=(task,), train=50, test=1, validation=0)
    problems = load_problems(asked).train
    verifier = verifier_of(asked, 0.5)
    assert len(problems) == 50
    texts_PG = [
        [
            f"<reasoning> hm </reasoning> <answer>{p.answer}</answer>",
            f"<answer>{p.answer}7 or so</answer>",
            "It is so.",
            "<answer></answer>",
        ]
        for p in problems
    ]
    for right, *wrong in verify_all(verifier, problems, texts_PG).verdicts_PG:
        assert (right.reward, right.correct, right.feedback) == (1.0, True, "")
        assert all(v.reward is not None and v.reward < 1.0 for v in wrong), wrong


@installed
@quiet
def test_everything_follows_from_the_seed_and_texts_are_its_own() -> None:
    import reasoning_gym

    asked = section(settings={"chain_sum": {"min_terms": 5, "max_terms": 6}})
    sets = load_problems(asked)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (6, 1, 3)
    assert sets == load_problems(asked) and sets != load_problems(section(seed=1, settings=asked.settings))
    theirs = reasoning_gym.create_dataset("chain_sum", seed=0, size=40, min_terms=5, max_terms=6)
    assert [p.prompt for p in sets.train] == [theirs[n]["question"] for n in range(6)]
    assert {p.kind for p in sets.test} == {"chain_sum"}
    prompts = [p.prompt for part in (sets.train, sets.validation, sets.test) for p in part]
    assert len(set(prompts)) == len(prompts)


@installed
@quiet
@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"tasks": ("chain_summ",)}, "no task"),
        ({"settings": {"chain_sum": {"terms": 5}}}, "no such settings"),
        ({"settings": {"gcd": {}}}, "none of problems.tasks"),
        ({"tasks": ("coin_flip",), "train": 5000, "settings": {"coin_flip": {"min_trials": 3, "max_trials": 3}}}, "different questions"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ProblemError, match=says):
        load_problems(section(**keys))


def test_without_the_package_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ProblemError, match="needs the package") as caught:
        load_problems(section())
    assert "pmd-agent[reasoning-gym]" in caught.value.hint


def test_the_example_recipe_resolves() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "examples" / "reasoning_gym.yaml")
    assert recipe.problems.verifier == "reasoning_gym"
