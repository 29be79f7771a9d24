"""How long prompts are for the policy that reads them, with its own tokenizer where that is on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmd_agent.assembly.preview import preview
from pmd_agent.models.loading import load_tokenizer
from pmd_agent.recipe import Recipe, load_recipe

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


def quick(*overrides: str) -> Recipe:
    return load_recipe(QUICKSTART, ["problems.train=12", "problems.test=3", "problems.validation=2", *overrides])


def test_lengths_are_those_that_a_run_counts() -> None:
    found = preview(quick())
    tokenizer = load_tokenizer("box")
    assert (found.unit, found.counted_by) == ("tokens", "the tokenizer of box")
    for _, text in found.prompts:
        assert text.startswith("<|im_start|>system") and text.rstrip().endswith("assistant")
    lengths = [len(tokenizer(text, add_special_tokens=False).input_ids) for _, text in found.prompts]
    (training, validation, test) = found.lengths
    assert training.shortest <= min(lengths) and max(lengths) <= training.longest
    assert training.shortest <= training.median <= training.most <= training.longest
    assert (training.split, validation.split, test.split) == ("training", "validation", "test")
    assert found.counts[-1] == ("all", 12, 4, 6)


def test_what_a_run_would_leave_out_is_named() -> None:
    found = preview(quick("rollout.max_prompt_tokens=39"))
    assert len(found.lengths[0].too_long) == 12 and found.lengths[0].too_long[0] == "world/0/train/2op/0000"
    assert 0 < len(found.lengths[2].too_long) < 6, "problems with one operator are shorter"


@pytest.mark.parametrize("model", ["nobody/nothing", "."])
def test_without_a_tokenizer_characters_are_counted(
    model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = preview(quick(f"policy.model={model}", "rollout.max_prompt_tokens=16"))
    assert (found.unit, found.counted_by) == ("characters", f"the tokenizer of {model} is not on this machine")
    assert found.prompts[0][1].startswith("system: Reason") and "\n\nuser: In the " in found.prompts[0][1]
    assert not any(n.too_long for n in found.lengths), "a limit in tokens says nothing of characters"


def test_prompts_of_different_kinds_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,answer,kind\n" + "".join(f"q{i},1,k{i // 8}\n" for i in range(24)))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"problems: {{type: file, path: {tmp_path}/a.csv}}\npolicy: {{type: scripted}}\n")
    assert [problem.kind for problem, _ in preview(load_recipe(recipe)).prompts] == ["k0", "k1", "k2"]
