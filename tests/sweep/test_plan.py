from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pmd_agent.errors import RecipeError
from pmd_agent.sweep import load_sweep, runs_of, tuning_runs

RECIPE = {"steps": 2, "problems": {"type": "world", "train": 4}, "policy": {"type": "scripted"}}
SWEEP: dict[str, Any] = {
    "name": "small",
    "recipe": "base.yaml",
    "seed_keys": ["seed", "problems.seed"],
    "set": {"rollout.samples": 2},
    "seeds": {"tune": [101], "validate": [201], "report": [1, 2, 3]},
    "arms": {
        "pmd": {"tune": {"distill.lr": [1e-5, 3e-3]}},
        "sdpo": {"set": {"method": "sdpo", "rollout.samples": 4}, "tune": {"distill.lr": [1e-4, 1e-3]}},
        "experience": {"like": "pmd", "seeds": 1, "set": {"memory.tiers": ["experience"]}},
    },
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / "base.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "sweep.yaml").write_text(
        yaml.safe_dump({**SWEEP, "runs": str(folder / "runs"), **changes}, sort_keys=False)
    )
    return folder / "sweep.yaml"


def test_runs_are_arms_times_seeds_a_seed_after_the_other(tmp_path: Path) -> None:
    runs = runs_of(load_sweep(write(tmp_path)))
    assert [(run.arm, run.seed) for run in runs] == [
        ("pmd", 1), ("sdpo", 1), ("experience", 1), ("pmd", 2), ("sdpo", 2), ("pmd", 3), ("sdpo", 3),
    ]  # fmt: skip
    pmd, sdpo, experience = (run.recipe for run in runs[:3])
    assert (pmd.seed, pmd.problems.seed, pmd.rollout.samples, pmd.method) == (1, 1, 2, "pmd")
    assert (sdpo.method, sdpo.rollout.samples) == ("sdpo", 4), "an arm's own key wins"
    assert experience.memory.tiers == ("experience",)
    assert runs[3].path == tmp_path / "runs" / "small" / "pmd-2"


def test_what_was_tuned_is_used_and_inherited(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path))
    runs = runs_of(sweep, "validate", tuned={"pmd": {"distill.lr": 3e-3}, "sdpo": {"distill.lr": 1e-4}})
    assert {(run.arm, run.seed): run.recipe.distill.lr for run in runs} == {
        ("pmd", 201): 3e-3, ("sdpo", 201): 1e-4, ("experience", 201): 3e-3,
    }  # fmt: skip


def test_every_configuration_is_tried_on_the_seeds_for_tuning_alone(tmp_path: Path) -> None:
    tried = tuning_runs(load_sweep(write(tmp_path)))
    assert [(name, values) for name, values, _ in tried] == [
        ("pmd", {"distill.lr": 1e-5}), ("pmd", {"distill.lr": 3e-3}),
        ("sdpo", {"distill.lr": 1e-4}), ("sdpo", {"distill.lr": 1e-3}),
    ]  # fmt: skip
    runs = [run for _, _, of_one in tried for run in of_one]
    assert {run.seed for run in runs} == {101}
    assert len({run.path for run in runs}) == 4
    assert runs[1].recipe.distill.lr == 3e-3


ARMS: dict[str, Any] = SWEEP["arms"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": {"tune": [1], "report": [1, 2]}}, "share 1: what is reported must not have been tuned on"),
        ({"seeds": {"report": []}}, "seeds.report"),
        ({"seeds": {"report": [1, 2, 1]}}, "seeds.report has 1 twice: a run a seed"),
        ({"arms": {**ARMS, "x": {"like": "nobody"}}}, "arms.x.like=nobody is no arm that stands for itself"),
        ({"arms": {**ARMS, "x": {"like": "experience"}}}, "arms.x.like=experience is no arm"),
        ({"arms": {**ARMS, "x": {"like": "pmd", "tune": {"seed": [1]}}}}, "whose tuning it takes"),
        ({"arms": {**ARMS, "x": {"tune": {"distill.lr": [1, 2, 3]}}}}, "pmd 2, sdpo 2, x 3"),
        ({"reference": "grpo"}, "reference=grpo is none of the arms: pmd, sdpo, experience"),
        ({"refrence": "pmd"}, "did you mean reference?"),
        ({"arms": {"x": {"sets": {}}}}, "arms"),
        ({"name": "../elsewhere"}, "name"),
    ],
)
def test_a_fault_is_one_sentence(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_sweep(write(tmp_path, **changes))
    assert message in str(error.value)


def test_faults_of_the_runs_name_the_arm(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, arms={"x": {"set": {"distil.lr": 1}}}))
    with pytest.raises(RecipeError, match=r"arm x: .*unknown key distil; did you mean distill\?"):
        runs_of(sweep)
    with pytest.raises(RecipeError, match="no arm 'y'"):
        runs_of(sweep, arms=["y"])
    with pytest.raises(RecipeError, match=r"no seeds\.validate"):
        runs_of(load_sweep(write(tmp_path, seeds={"report": [1]})), "validate")


def test_a_recipe_is_no_sweep(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(RecipeError, match="has no arms") as error:
        load_sweep(tmp_path / "base.yaml")
    assert "pmd run" in error.value.hint
    with pytest.raises(RecipeError, match="There is no sweep"):
        load_sweep(tmp_path / "missing.yaml")
