"""What a model makes of house rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from pmd_agent.assembly import probe as module
from pmd_agent.assembly.probe import Probed, followed, probe
from pmd_agent.console import Console
from pmd_agent.errors import RecipeError
from pmd_agent.policies.base import Messages
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.problems.house_rules import MENU
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.types import Completion, Sampling

WEIGHTS = {"blank": "{} kg", "joined": "{}kg", "grams": "{}000 g", "decimal": "{}.0 kg"}


class Clerk(ScriptedPolicy):
    """Writes weights in kg with a blank, unless it reads a rule for them; of several it reads the last. Grams are beyond it."""

    def sample(self, prompts_P: Sequence[Messages], n: int, sampling: Sampling) -> list[list[Completion]]:
        self.prompts += prompts_P
        return [[self._completion(p, self._answer(p[-1]["content"]))] * n for p in prompts_P]

    def _answer(self, text: str) -> str:
        found = re.search(r"weight of (\d+)", text)
        if found is None:
            return "<answer>?</answer>"
        rules = re.findall(r"writes a weight .*such as (.+)\.", text)
        form = next((f for f in WEIGHTS.values() if rules and f.format(5) == rules[-1] and "000" not in f), "{} kg")
        return f"<answer>{form.format(found[1])}</answer>"


def house(**problems: object) -> Recipe:
    section = {"type": "house_rules", "departments": 2, "rules": 2, "conventions": ["weight", "ticket"], **problems}
    return parse_recipe({"problems": section, "policy": {"type": "scripted"}})


def test_each_form_untold_told_and_among_all_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    clerk = Clerk(["?"])
    monkeypatch.setattr(module, "frozen_policy", lambda *_: (clerk, 0))
    found = {each.name: each for each in probe(house(), Console(), cases=3)}
    assert list(found) == [f"{c.name}/{f.name}" for c in MENU if c.name in ("weight", "ticket") for f in c.forms]
    assert [found[f"weight/{f}"].untold for f in WEIGHTS] == [1.0, 0.0, 0.0, 0.0]
    assert [found[f"weight/{f}"].told for f in WEIGHTS] == [1.0, 1.0, 0.0, 1.0]
    among = [each.among for each in found.values() if each.convention == "weight" and each.among is not None]
    assert 1 <= len(among) <= 2 and sum(among) == 1.0, "the rule that is read last is followed, by both departments"
    assert followed(list(found.values())) == ("weight/blank", "weight/joined", "weight/decimal")
    plain = [p for p in clerk.prompts if "writes" not in p[-1]["content"]]
    assert len(plain) == 2 * 3, "untold tasks are asked once, whatever the form"


def test_a_convention_of_which_all_forms_are_followed_is_named_alone() -> None:
    def probed(name: str, told: float) -> Probed:
        return Probed(*name.split("/"), 0.0, told, None)

    found = [
        probed("date/iso", 1.0),
        probed("date/points", 0.9),
        probed("name/plain", 0.84),
        probed("name/comma", 0.85),
    ]
    assert followed(found) == ("date", "name/comma")
    assert followed([probed("date/iso", 0.5)]) == ()


def test_only_house_rules_are_probed() -> None:
    with pytest.raises(RecipeError, match="bring no rules"):
        probe(parse_recipe({"problems": {"type": "world"}, "policy": {"type": "scripted"}}), Console(), cases=1)


def test_with_the_policy_in_the_box_that_knows_no_english() -> None:
    recipe = parse_recipe(
        {
            "problems": {"type": "house_rules", "departments": 1, "rules": 2, "conventions": ["weight", "ticket/t"]},
            "policy": {"type": "local", "model": "box"},
            "rollout": {"max_tokens": 8},
        }
    )
    found = probe(recipe, Console(), cases=1)
    assert len(found) == 5 and all(each.told == 0.0 for each in found) and followed(found) == ()
