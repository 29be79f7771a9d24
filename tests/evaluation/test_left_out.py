"""Answers that could not be checked: their share stands wherever an accuracy stands that leaves them out."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.console import Console
from pmd_agent.evaluation.arms import group_by_arm
from pmd_agent.evaluation.certificate import certificate, sentences
from pmd_agent.evaluation.finished_runs import read_run
from pmd_agent.evaluation.overview import overview
from pmd_agent.evaluation.scores import Outcome, accuracy
from pmd_agent.recipe import parse_recipe
from pmd_agent.reports.comparison import compare
from pmd_agent.reports.comparison_page import html, markdown, table_csv
from pmd_agent.reports.model_card import front_matter

Make = Callable[..., Path]
HALF = [Outcome(f"p{i}", "ab"[i % 2], 1, int(i < 2), i < 2, 1) for i in range(4)]
"""Each problem with one answer that was checked, two of them right, and one that was not."""


@pytest.fixture
def leaky(make_run: Make) -> Path:
    """A run, of whose last answers half were not checked."""
    folder = make_run("leaky", final=[1, 1, 0, 0], base=[0, 1, 0, 0], with_memory=[1, 1, 1, 0], validation=[0.5])
    for name in ("final", "final_with_memory"):
        (folder / "evaluation" / f"{name}.jsonl").write_text("".join(json.dumps(o.record()) + "\n" for o in HALF))
    summary = json.loads((folder / "summary.json").read_text())
    summary["final"]["detail"] = accuracy(HALF)
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def shown(show: Callable[[Console], None]) -> str:
    out = io.StringIO()
    show(Console(out, io.StringIO()))
    return out.getvalue()


def test_on_the_terminal(leaky: Path) -> None:
    line = shown(lambda console: console.evaluation("final", accuracy(HALF)))
    assert "avg@1 50.0%" in line and "4 answers unchecked (50.0% of them; counted as wrong, avg is 25.0%)" in line
    summary = json.loads((leaky / "summary.json").read_text())
    said = shown(lambda console: console.summary(summary, leaky))
    assert (
        "not checked      0.0% before, 50.0% after of the answers, left out above; counted as wrong: 25.0% -> 25.0%"
        in said
    )
    summary["final"]["detail"] = summary["base"]["detail"]
    assert "not checked" not in shown(lambda console: console.summary(summary, leaky))
    step: dict[str, Any] = {"validation": 0.5, "validation_unchecked": 0.25}
    assert "validation 50.0% · (25.0% of it unchecked)" in shown(lambda console: console.step(0, 2, step))


def test_in_a_comparison_and_its_three_files(leaky: Path, make_run: Make) -> None:
    whole = make_run("whole", final=[1, 1, 0, 0], base=[0, 1, 0, 0], validation=[0.5], distill={"lr": 1e-3})
    arms = group_by_arm([read_run(leaky), read_run(whole)])
    report = compare(arms)
    table = report.tables[0]
    assert table.columns[-2:] == ("not checked", "avg if these are wrong")
    assert [row[-2:] for row in table.rows] == [("0.0%", "25.0%"), ("50.0%", "25.0%"), ("0.0%", "50.0%")]
    assert sum("left out" in table.note for table in report.tables if table.accuracies) == 3
    assert any("leaky: of the answers" in fact and "final 50.0%" in fact for fact in report.facts)
    for page in (markdown(report, "t", "c"), html(report, "t", "c"), table_csv(report)):
        assert "avg if these are wrong" in page
    report = compare(group_by_arm([read_run(whole)]))
    assert "not checked" not in report.tables[0].columns and not any("left out" in t.note for t in report.tables)


def test_in_a_certificate_and_so_on_a_model_card(leaky: Path, make_run: Make) -> None:
    found = certificate(read_run(leaky))
    assert found["memory_free"]["unchecked"] == {"before": 0.0, "after": 0.5}
    assert found["memory_free"]["as_wrong"] == {"before": 0.25, "after": 0.25}
    said = list(sentences(found))
    assert (
        "not checked and left out: 0.0% of the answers before, 50.0% after (counted as wrong: 25.0% -> 25.0%)"
        in said[0]
    )
    assert sum("not checked" in line for line in said) == 4, "in all, by kind, and with memory"
    recipe = parse_recipe({"policy": {"type": "local", "model": "some/model"}})
    (index,) = front_matter(recipe, found, "peft")["model-index"]
    assert [metric["value"] for metric in index["results"][0]["metrics"]] == [0.5, 0.5]
    whole = certificate(read_run(make_run("whole", final=[1, 0], base=[0, 1])))
    assert not any("not checked" in line for line in sentences(whole))
    (index,) = front_matter(recipe, whole, "peft")["model-index"]
    assert len(index["results"][0]["metrics"]) == 1


def test_in_the_list_of_runs(leaky: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pmd_agent.cli.list import list_runs

    (leaky / "evaluation" / "final.json").write_text(json.dumps(accuracy(HALF)))
    (row,) = overview(leaky.parent)
    assert (row["final"], row["final_unchecked"], row["base_unchecked"]) == (0.5, 0.5, 0.0)
    list_runs(leaky.parent)
    assert "50.0% (50.0% unchecked)" in capsys.readouterr().out
