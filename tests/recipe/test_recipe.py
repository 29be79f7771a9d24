"""Recipes: the published defaults, what is refused and with which words, overrides, and the way back to YAML."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from pmd_agent.errors import RecipeError
from pmd_agent.recipe import (
    LocalPolicySection,
    Recipe,
    ScriptedPolicySection,
    dump_recipe,
    load_recipe,
    parse_recipe,
)
from pmd_agent.recipe.problems import SciKnowEvalProblems, WorldProblems

RECIPES = sorted(
    path for path in (Path(__file__).parents[2] / "recipes").glob("*.yaml") if "\narms:" not in path.read_text()
)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_recipe(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write_recipe


def fault(data: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(data)
    assert caught.value.hint
    return caught.value.message


# ---- defaults


def test_defaults_are_the_published_settings() -> None:
    recipe = Recipe()
    assert (recipe.rollout.problems, recipe.rollout.samples) == (32, 8)
    assert (recipe.rollout.temperature, recipe.rollout.top_p) == (1.0, 1.0)
    assert (recipe.rollout.max_prompt_tokens, recipe.rollout.max_tokens) == (2048, 8192)
    assert recipe.rollout.success_threshold == 0.5
    assert recipe.distill.lr == 1e-4 and recipe.distill.warmup == 10
    assert (recipe.distill.divergence, recipe.distill.alpha) == ("jsd", 0.5)
    assert (recipe.distill.teacher.type, recipe.distill.teacher.rate) == ("ema", 0.05)
    assert recipe.epochs == 20 and recipe.steps is None
    assert (recipe.evaluate.every, recipe.evaluate.samples) == (5, 16)
    assert (recipe.evaluate.temperature, recipe.evaluate.top_p) == (0.6, 0.95)
    assert recipe.memory.behaviors == 3 and recipe.memory.tiers == ("experience", "insight", "behavior")
    assert isinstance(recipe.policy, LocalPolicySection) and recipe.policy.model == "Qwen/Qwen3-8B"
    assert recipe.policy.thinking is False
    assert isinstance(recipe.problems, SciKnowEvalProblems)


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().distill.lr = 1.0  # type: ignore[misc]


# ---- variants


def test_a_section_without_type_is_the_default_variant() -> None:
    recipe = parse_recipe({"problems": {"seed": 3}, "policy": {"model": "box"}})
    assert isinstance(recipe.problems, SciKnowEvalProblems) and recipe.problems.seed == 3
    assert isinstance(recipe.policy, LocalPolicySection) and recipe.policy.model == "box"


def test_unknown_keys_are_checked_in_a_section_without_type() -> None:
    assert "did you mean problems.domains?" in fault({"problems": {"domain": ["biology"]}})


def test_an_unknown_type_names_the_nearest() -> None:
    assert "unknown problems.type=sciknow; did you mean sciknoweval?" in fault({"problems": {"type": "sciknow"}})
    assert "known: local, vllm, scripted" in fault({"policy": {"type": "xyz"}})


def test_faults_in_a_variant_are_named_by_their_key_alone() -> None:
    assert "problems.operators: " in fault({"problems": {"type": "world", "operators": 99}})
    assert "memory.tiers[1]: " in fault({"memory": {"tiers": ["experience", "skill"]}})
    assert fault({"pipeline": {"reflector": 3}}).count("pipeline.reflector: ") >= 1


# ---- unknown keys


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"distil": {}}, "unknown key distil; did you mean distill?"),
        ({"distill": {"learning_rate": 1}}, "unknown key distill.learning_rate"),
        ({"distill": {"lora": {"ranks": 8}}}, "unknown key distill.lora.ranks; did you mean distill.lora.rank?"),
        ({"distill": {"teacher": {"kind": "ema"}}}, "unknown key distill.teacher.kind"),
        ({"lr": 1e-4}, "did you mean distill.lr?"),
        ({"rollout": {"model": "box"}}, "did you mean policy.model?"),
        ({"problems": {"type": "file", "path": "x", "operators": 4}}, "it belongs to problems.type=world"),
        ({"zzz": 1}, "known here: name, method, seed"),
        ({1: 2}, "unknown key 1"),
    ],
)
def test_unknown_keys_name_the_nearest(data: dict[str, Any], says: str) -> None:
    assert says in fault(data)


def test_every_fault_is_reported() -> None:
    message = fault({"rollout": {"samples": 0}, "distill": {"lr": -1}})
    assert "rollout.samples" in message and "distill.lr" in message and "given: -1" in message


# ---- bounds


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rollout.problems", 0),
        ("rollout.top_p", 0),
        ("rollout.top_p", 1.5),
        ("rollout.temperature", -0.1),
        ("distill.lr", 0),
        ("distill.lr", math.nan),
        ("distill.lr", math.inf),
        ("distill.alpha", 1),
        ("distill.divergence", "kl"),
        ("distill.teacher.rate", 0),
        ("distill.teacher.mix", 1.1),
        ("distill.top_k", 0),
        ("distill.importance_clip", 0.5),
        ("distill.weighting", "difficulty"),
        ("distill.grpo.clip", 1),
        ("distill.grpo.kl", -1),
        ("distill.lora.dropout", 1),
        ("evaluate.every", -1),
        ("evaluate.samples", 0),
        ("rollout.success_threshold", 0),
        ("problems.max_bad_fraction", 1),
        ("steps", 0),
        ("checkpoint_every", 0),
        ("keep_checkpoints", 0),
        ("memory.freeze_after", -1),
        ("policy.dtype", "int8"),
        ("name", "a/b"),
        ("name", ".."),
        ("name", "."),
        ("name", ""),
        ("name", "-x"),
        ("memory", 3),
        ("rollout", None),
    ],
)
def test_bounds(key: str, value: object) -> None:
    data: Any = value
    for part in reversed(key.split(".")):
        data = {part: data}
    assert key in fault(data)


def test_behaviors_need_insights() -> None:
    assert "made from insights" in fault({"memory": {"tiers": ["experience", "behavior"]}})


def test_a_drift_needs_the_problems_in_their_order() -> None:
    parse_recipe({"problems": {"type": "world", "drift": 0.5}, "rollout": {"shuffle": False}})
    assert "set rollout.shuffle=false" in fault({"problems": {"type": "world", "drift": 0.5}})


def test_keys_of_an_earlier_release_load_where_they_did_nothing() -> None:
    old = {"leave_out": 0.0, "leave_out_tier": 0.0, "least": 16, "readmit": 0.1}
    assert parse_recipe({"memory": {"lift": {"trial": 4, **old}}}) == parse_recipe({"memory": {"lift": {"trial": 4}}})
    said = fault({"memory": {"lift": {"leave_out": 0.25, "leave_out_tier": 0.5}}})
    assert "memory.lift.leave_out is gone" in said and "memory.lift.trial" in said
    assert "memory.lift.leave_out_tier is gone" in said and "tier_gains_every" in said


def test_a_trial_needs_a_learner_and_a_bound() -> None:
    assert "memory.lift.harmful" in fault({"memory": {"lift": {"trial": 4, "harmful": None}}})
    assert "nothing is learnt" in fault({"memory": {"lift": {"trial": 4}}, "distill": {"enabled": False}})


def test_sdpo_keeps_no_memory() -> None:
    recipe = parse_recipe({"method": "sdpo", "memory": {"siblings": True}})
    assert recipe.memory.tiers == ()
    assert parse_recipe(recipe.model_dump(mode="json")) == recipe
    assert "memory.tiers" in fault({"method": "sdpo", "memory": {"tiers": ["experience"]}})
    assert "memory: " in fault({"method": "sdpo", "memory": 3})


def test_grpo_keeps_no_memory_and_routes_nothing() -> None:
    recipe = parse_recipe({"method": "grpo", "distill": {"grpo": {"lr": 1e-6, "kl": 0.01}}})
    assert recipe.memory.tiers == () and recipe.distill.grpo.lr == 1e-6
    assert parse_recipe(recipe.model_dump(mode="json")) == recipe
    assert "memory.tiers" in fault({"method": "grpo", "memory": {"tiers": ["experience"]}})
    assert "distill.routing" in fault({"method": "grpo", "distill": {"routing": "srpo"}})


def test_the_loss_is_the_published_one_by_default_and_whole_in_the_quickstart() -> None:
    settings = Recipe().distill
    assert (settings.divergence, settings.alpha, settings.top_k, settings.importance_clip) == ("jsd", 0.5, 100, 2.0)
    assert (settings.teacher.type, settings.teacher.rate) == ("ema", 0.05)
    assert (settings.weighting, settings.routing, settings.mask_special) == ("none", "none", False)
    quick = load_recipe(RECIPES[0].with_name("quickstart.yaml")).distill
    assert (quick.divergence, quick.top_k, quick.importance_clip, quick.teacher.type) == (
        "forward_kl",
        None,
        None,
        "initial",
    )


# ---- files and overrides


def test_numbers_without_a_point_are_numbers(write: Any) -> None:
    path = write("distill: {lr: 1e-5, weight_decay: 1E-2}\nseed: 1e3\n")
    recipe = load_recipe(path, ["distill.max_grad_norm=5e-1"])
    assert (recipe.distill.lr, recipe.distill.weight_decay, recipe.distill.max_grad_norm) == (1e-5, 0.01, 0.5)
    assert recipe.seed == 1000


def test_overrides_win_over_the_file(write: Any) -> None:
    path = write("seed: 1\ndistill: {lr: 0.1}\n")
    overrides = ["seed=2", "distill.lr=1e-4", "steps=3", "memory.tiers=[experience]", "memory.freeze_after=null"]
    recipe = load_recipe(path, overrides)
    assert (recipe.seed, recipe.distill.lr, recipe.steps) == (2, 1e-4, 3)
    assert recipe.memory.tiers == ("experience",) and recipe.memory.freeze_after is None


@pytest.mark.parametrize("order", [1, -1])
def test_another_type_drops_the_file_s_keys_but_no_override(write: Any, order: int) -> None:
    path = write("problems: {type: world, operators: 4}\n")
    recipe = load_recipe(path, ["problems.type=file", "problems.path=x.jsonl"][::order])
    assert recipe.problems.type == "file" and recipe.problems.path == Path("x.jsonl")


def test_the_same_type_keeps_the_file_s_keys(write: Any) -> None:
    recipe = load_recipe(write("problems: {type: world, operators: 4}\n"), ["problems.type=world"])
    assert isinstance(recipe.problems, WorldProblems) and recipe.problems.operators == 4
    recipe = load_recipe(write("problems: {seed: 4}\n"), ["problems.type=sciknoweval"])
    assert isinstance(recipe.problems, SciKnowEvalProblems) and recipe.problems.seed == 4


def test_a_teacher_s_type_is_no_variant(write: Any) -> None:
    recipe = load_recipe(write("distill: {teacher: {rate: 0.2}}\n"), ["distill.teacher.type=initial"])
    assert (recipe.distill.teacher.type, recipe.distill.teacher.rate) == ("initial", 0.2)


def test_an_empty_file_is_all_defaults(write: Any) -> None:
    assert load_recipe(write("# nothing yet\n")) == Recipe()


@pytest.mark.parametrize("override", ["seed", "=3", ""])
def test_what_is_no_override_is_refused(write: Any, override: str) -> None:
    with pytest.raises(RecipeError, match="no override") as caught:
        load_recipe(write(""), [override])
    assert "key=value" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "not YAML"),
        ("- 1\n- 2\n", "holds a list"),
        ("42", "holds a int"),
        ("seed: 1\nseed: 2\n", "seed is given twice"),
        ("distill:\n  lr: 1\n  lr: 2\n", "lr is given twice"),
        ("{[1]: 2}", "not YAML"),
        ("a: !!python/object:os.system {}", "not YAML"),
    ],
)
def test_broken_files(write: Any, text: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(text))
    assert says in caught.value.message and "recipe.yaml" in caught.value.message


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(tmp_path / "a.yaml")


def test_merge_keys_may_be_overridden(write: Any) -> None:
    path = write("rollout: &r {samples: 2, problems: 3}\nevaluate: {<<: {samples: 4}, samples: 5}\n")
    assert load_recipe(path).evaluate.samples == 5


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("")
    with pytest.raises(RecipeError, match="no recipe") as caught:
        load_recipe(tmp_path / "quickstrat.yaml")
    assert "quickstart.yaml" in caught.value.hint
    with pytest.raises(RecipeError):
        load_recipe(tmp_path)


# ---- there and back


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"method": "sdpo", "name": "1e-5", "steps": 3},
        {
            "problems": {"type": "world"},
            "policy": {"type": "scripted", "answers": ["1e5", "yes", " a\nb: c ", "é\x07\ud800"]},
        },
        {
            "problems": {"type": "file", "path": "a b/ü.jsonl", "verifier": "on"},
            "distill": {"lora": {"targets": ["q", "v"]}},
        },
        {"pipeline": {"reflector": ["a.b:C", "d.e:F"]}, "distill": {"lr": 3e-07}},
    ],
)
def test_dumping_and_loading_gives_an_equal_recipe(data: dict[str, Any], write: Any) -> None:
    recipe = parse_recipe(data)
    assert load_recipe(write(dump_recipe(recipe))) == recipe


def test_scripted_answers_stay_text() -> None:
    recipe = parse_recipe({"policy": {"type": "scripted", "answers": ["a"]}})
    assert isinstance(recipe.policy, ScriptedPolicySection) and recipe.policy.answers == ("a",)


# ---- what ships


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_shipped_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    header = path.read_text().split("\nname:")[0]
    for word in ("Purpose", "Hardware", "Time", "Command", "Expect"):
        assert f"# {word}" in header, f"{path.name} does not state its {word.lower()}"
    assert f"recipes/{path.name}" in header


def test_there_are_recipes() -> None:
    assert "quickstart.yaml" in [path.name for path in RECIPES]


def test_the_schema_is_json_and_mentions_every_key() -> None:
    schema = json.loads(json.dumps(Recipe.model_json_schema()))
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["additionalProperties"] is False
    described = schema["$defs"]["DistillSection"]["properties"]["warmup"]
    assert described["description"] and described["minimum"] == 0 and described["default"] == 10


def test_the_dump_is_plain_yaml() -> None:
    assert yaml.safe_load(dump_recipe(Recipe()))["rollout"]["problems"] == 32


def test_house_rules_that_change_want_their_order_too() -> None:
    parse_recipe({"problems": {"type": "house_rules", "drift": 0.5}, "rollout": {"shuffle": False}})
    assert "set rollout.shuffle=false" in fault({"problems": {"type": "house_rules", "drift": 0.5}})
