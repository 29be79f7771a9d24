"""What a program makes of the documentation: references from the code, the chart from its numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import pmd_agent
from docs.generate import chart
from docs.generate.commands import commands_page
from docs.generate.metrics import metrics_page
from docs.generate.python_api import python_page
from docs.generate.recipe_keys import recipe_page
from pmd_agent.evaluation.gauges import GAUGES
from pmd_agent.recipe import Recipe
from pmd_agent.recipe.keys import _all_keys

ROOT = Path(__file__).parents[2]
NAMES = [name for group in GAUGES.values() for name in group]


def test_every_key_of_a_recipe_is_in_its_reference() -> None:
    page = recipe_page()
    keys = list(_all_keys(Recipe, ""))
    sections = {key.rpartition(".")[0] for key, _ in keys}
    chosen = {key for key, kind in keys if kind and key.endswith(".type")}  # has a heading for each value
    leaves = {key for key, _ in keys} - sections - chosen
    assert len(leaves) > 150 and leaves == set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    assert {"problems.type: world", "policy.type: vllm", "distill.lora"} <= set(
        re.findall(r"^#+ `(.+)`$", page, re.MULTILINE)
    )
    assert "| `distill.lr` | number, > 0 | `0.0001` |" in page
    assert "[problems.md](../problems.md)" in page and "docs/problems.md" not in page


def test_every_command_and_option_is_in_its_reference() -> None:
    page = commands_page()
    for heading in ("## pmd run", "## pmd memory recall", "## pmd bench distill", "## pmd watch"):
        assert f"{heading}\n" in page
    assert "`--resume`" in page and "`RECIPE`" in page and "None" not in page


def test_every_public_name_is_in_the_reference() -> None:
    page = python_page()
    missing = [name for name in pmd_agent.__all__ if f".{name}" not in page]
    assert missing == ["Recipe"], "which has a page of its own"


def test_a_figure_is_listed_once_and_has_a_sentence() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert all(text.endswith(".") and len(text) > 15 for group in GAUGES.values() for text in group.values())
    assert all(f"| `{name}` |" in metrics_page() for name in NAMES)


def test_every_figure_that_a_stage_names_is_listed() -> None:
    sources = [*(ROOT / "pmd_agent" / "stages").glob("*.py"), ROOT / "pmd_agent" / "loop.py"]
    named = {name for path in sources for name in re.findall(r'm\.values\["(\w+)"\]', path.read_text())}
    measured = (ROOT / "pmd_agent" / "distillation" / "step_metrics.py").read_text()
    named |= {a or b for a, b in re.findall(r'"(\w+)": self\.|found\["(\w+)"\]', measured)}
    assert len(named) >= 15 and named <= set(NAMES)


def test_the_chart_is_that_of_its_numbers() -> None:
    data = json.loads((chart.CHARTS / "results.json").read_text())
    assert (chart.CHARTS / "results.svg").read_text() == chart.drawn(data), (
        "python -m docs.generate.chart draws it again"
    )


def test_the_chart_takes_the_shown_arms_of_a_comparison() -> None:
    rows = [
        {"arm": name, "seeds": seeds, "problems": 60, "avg@1 memory-free": value, "with memory in the prompt": None}
        for name, seeds, value in [
            ("base", 5, "12.2 [9.2, 15.3]"),
            ("pmd", 5, "63.5 [56.0, 70.5]"),
            ("sdpo", 5, "15.8 [9.7, 23.0]"),
            ("sdpo-slower", 3, "32.4 [20.3, 44.7]"),
            ("transient", 3, "46.5 [43.1, 50.0]"),
            ("grpo", 1, None),
        ]
    ]
    arms = chart.arms_of({"tables": [{"rows": rows}]})
    assert [(a["name"], a["seeds"], a["mean"], a["low"]) for a in arms] == [
        ("base", 5, 12.2, 9.2),
        ("sdpo-slower", 3, 32.4, 20.3),
        ("pmd", 5, 63.5, 56.0),
    ]
    drawn = chart.drawn({"what": "Accuracy", "note": "a & b", "arms": arms})
    assert "63.5" in drawn and "a &amp; b" in drawn and "transient" not in drawn
    assert json.loads(chart.as_json({"what": "x", "arms": arms}))["arms"] == arms


@pytest.mark.parametrize("name", ["docs/pictures/loop.svg", "docs/charts/results.svg", "README.md", "docs/index.md"])
def test_nothing_is_fetched_from_elsewhere(name: str) -> None:
    text = (ROOT / name).read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r'(src|href)="https?:|!\[[^]]*\]\(https?:|url\(https?:', text)
