"""From a recipe to its verifier, and what shipped recipes say of their problems."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path

import pytest

from pmd_agent.assembly.parts import build_verifier
from pmd_agent.console import Console
from pmd_agent.errors import RecipeError, VerifierError
from pmd_agent.recipe import load_recipe, parse_recipe
from pmd_agent.recipe.problems import HumanEvalProblems, LiveCodeBenchProblems
from pmd_agent.verifiers.code import CodeVerifier

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_published_settings_of_livecodebench() -> None:
    recipe = load_recipe(RECIPES / "livecodebench.yaml")
    assert isinstance(recipe.problems, LiveCodeBenchProblems)
    assert (recipe.problems.start, recipe.problems.end) == (date(2025, 2, 1), date(2025, 5, 31))
    assert (recipe.distill.lr, recipe.distill.divergence) == (1e-5, "reverse_kl")
    assert (recipe.rollout.problems, recipe.rollout.samples) == (32, 8)
    assert (recipe.rollout.max_prompt_tokens, recipe.rollout.max_tokens) == (2048, 8192)
    assert (recipe.epochs, recipe.evaluate.every, recipe.evaluate.samples) == (20, 5, 4)
    assert recipe.policy.type == "vllm" and recipe.policy.max_model_len == 12288


def test_dates_are_written_as_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("problems: {type: livecodebench, start: 2025-01-05, end: null}")
    problems = load_recipe(path).problems
    assert isinstance(problems, LiveCodeBenchProblems) and (problems.start, problems.end) == (date(2025, 1, 5), None)
    assert load_recipe(path, ["problems.start=2025-02-03"]).problems.start == date(2025, 2, 3)  # type: ignore[union-attr]
    with pytest.raises(RecipeError, match=r"problems\.start"):
        load_recipe(path, ["problems.start=soon"])


def test_the_recipe_sets_the_sandbox_and_the_console_says_what_protects() -> None:
    recipe = parse_recipe(
        {"problems": {"type": "humaneval", "sandbox": {"seconds": 2, "memory_mib": 256, "cores": 3, "fraction": True}}}
    )
    assert isinstance(recipe.problems, HumanEvalProblems)
    said = io.StringIO()
    try:
        verifier = build_verifier(recipe, Console(said))
    except VerifierError as error:
        pytest.skip(f"no sandbox here: {error}")
    assert isinstance(verifier, CodeVerifier)
    try:
        assert (verifier.limits.seconds, verifier.limits.wall, verifier.limits.memory) == (2, 5, 256 << 20)
        assert (verifier.parallel, verifier.fraction) == (3, True)
        assert "sandbox: group, limits, time, folder" in said.getvalue()
    finally:
        verifier.close()
