from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pmd_agent.cli import app
from pmd_agent.errors import RunError
from pmd_agent.evaluation.arms import group_by_arm
from pmd_agent.evaluation.curves import at, mean_curve, reached
from pmd_agent.evaluation.finished_runs import read_runs
from pmd_agent.reports.comparison import compare
from pmd_agent.reports.comparison_page import markdown, write_report
from pmd_agent.reports.plots import learning_curves


def table(report, title):
    (found,) = [t for t in report.tables if t.title.startswith(title)]
    return {row[0]: dict(zip(found.columns, row, strict=True)) for row in found.rows}


def two_arms(make_run):
    for seed in (1, 2):
        make_run(f"sdpo-{seed}", seed=seed, method="sdpo", final=[1, 0, 0, 0], base=[0, 0, 0, 1], validation=[0.2, 0.4])
        make_run(
            f"pmd-{seed}", seed=seed, final=[1, 1, 1, 0], base=[0, 0, 0, 1], with_memory=[1, 1, 1, 1],
            validation=[0.4, 0.8], step_seconds=3.0,
        )  # fmt: skip


def test_arms_are_recipes_that_differ_in_no_more_than_seeds(make_run, tmp_path: Path) -> None:
    two_arms(make_run)
    runs, unfinished = read_runs([tmp_path / "runs"])
    arms = {arm.name: arm for arm in group_by_arm(runs)}
    assert set(arms) == {"pmd", "sdpo"} and not unfinished
    assert arms["pmd"].seeds == (1, 2)
    assert arms["pmd"].scores()[1] == {"p0": 1.0, "p1": 1.0, "p2": 1.0, "p3": 0.0}
    assert arms["pmd"].scores(kind="b")[2] == {"p1": 1.0, "p3": 0.0}
    assert arms["sdpo"].scores("final_with_memory") == {}


def test_a_split_that_differs_is_another_arm(make_run, tmp_path: Path) -> None:
    """Only a world's seed is a seed: that of a dataset's split decides what is tested."""
    data = {"type": "sciknoweval", "path": "rows"}
    make_run("a", final=[1], problems={**data, "seed": 1})
    make_run("b", final=[1], problems={**data, "seed": 2})
    assert len(group_by_arm(read_runs([tmp_path / "runs"])[0])) == 2


def test_the_figures_are_those_of_hand(make_run, tmp_path: Path) -> None:
    two_arms(make_run)
    report = compare(group_by_arm(read_runs([tmp_path / "runs"])[0]), "sdpo", ["A fact."])
    accuracy = table(report, "Accuracy on")
    assert accuracy["base"]["avg@1 memory-free"].startswith("25.0 [")
    assert accuracy["pmd"]["avg@1 memory-free"].startswith("75.0 [")
    assert accuracy["pmd"]["with memory in the prompt"].startswith("100.0 [")
    assert accuracy["sdpo"]["with memory in the prompt"] is None
    (against,) = [t for t in report.tables if t.title.startswith("Against sdpo")]
    rows = {(row[0], row[1]): row for row in against.rows}
    assert rows["pmd", "memory-free"][2].startswith("+50.0 [")
    assert rows["pmd", "over base"][2].startswith("+50.0 [")
    assert rows["pmd", "with memory"][2].startswith("+75.0 [")
    budgets = table(report, "At equal rollouts")
    columns = list(budgets["pmd"])
    assert budgets["pmd"][columns[1]] == "80.0%", "at 128 rollouts"
    assert columns[2] == "at 2 s of training" and budgets["sdpo"][columns[2]] == "40.0%"
    assert budgets["pmd"][columns[2]] == "-", "before its first validation, after 3 s of training"
    assert budgets["pmd"][columns[3]] == 64 and budgets["pmd"][columns[4]] == "0.50"
    assert table(report, "Cost of a run")["pmd"]["seconds"] == 6.0, "evaluation is not training"
    assert report.facts[-1] == "A fact."


def test_what_was_practised_is_said_and_what_cannot_be_voted_on_has_a_dash(make_run, tmp_path: Path) -> None:
    folder = make_run("lcb", final=[1, 0], problems={"type": "livecodebench", "path": "rows"}, validation=[0.5])
    for file in (folder / "evaluation").glob("*.jsonl"):
        rows = [json.loads(line) | {"majority": None} for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = compare(group_by_arm(read_runs([folder])[0]))
    rows = table(report, "Accuracy on problems that were trained on, by all of their tests")
    assert rows["lcb"]["avg@1 memory-free"].startswith("50.0 [") and rows["lcb"]["maj@1"] is None
    assert "| 100.0% |" not in markdown(report, "x", "y") and "| – |" in markdown(report, "x", "y")
    make_run("world", final=[1, 0], validation=[0.5])
    both = compare(group_by_arm(read_runs([tmp_path / "runs"])[0]))
    assert "of some arms, trained on" in both.tables[0].title


def test_a_run_whose_steps_took_much_longer_than_its_twins_is_named(make_run, tmp_path: Path) -> None:
    for seed, seconds in ((1, 45.0), (2, 379.0)):
        make_run(f"slow-{seed}", seed=seed, final=[1], method="sdpo", validation=[0.5], step_seconds=seconds)
    for seed, seconds in ((1, 10.0), (2, 19.0), (3, 11.0), (4, 3.0)):
        make_run(f"calm-{seed}", seed=seed, final=[1], validation=[0.5], step_seconds=seconds)
    facts = compare(group_by_arm(read_runs([tmp_path / "runs"])[0])).facts
    named = [fact for fact in facts if "s of training a step" in fact]
    assert len(named) == 2 and "slow-2 took 379.00 s" in named[1] and "the median of slow is 45.00" in named[1]
    assert "calm-4 took 3.00 s" in named[0], "far too quick is no less strange"


def test_one_problem_of_one_seed_has_no_interval(make_run, tmp_path: Path) -> None:
    make_run("a", final=[1], validation=[0.5])
    make_run("b", final=[0], validation=[0.5], method="sdpo")
    report = compare(group_by_arm(read_runs([tmp_path / "runs"])[0]))
    assert table(report, "Accuracy on")["a"]["avg@1 memory-free"] == "100.0"
    assert "one problem has none" in report.tables[0].note
    (against,) = [t for t in report.tables if t.title.startswith("Against a")]
    assert against.rows[0][2:] == ("-100.0", None, 1, 1, None)


def test_curves(make_run, tmp_path: Path) -> None:
    make_run("a-1", seed=1, final=[1], validation=[0.2, 0.6])
    make_run("a-2", seed=2, final=[1], validation=[0.4, 0.4, 0.9])
    first, second = (run for run in read_runs([tmp_path / "runs"])[0])
    assert at(first, 1.5) == pytest.approx(0.4) and at(first, 0.5) is None and at(first, 99) == 0.6
    assert at(first, 96, "rollouts") == pytest.approx(0.4)
    assert mean_curve([first, second], "rollouts") == [
        (64, pytest.approx(0.3), 0.2, 0.4),
        (128, pytest.approx(0.5), 0.4, 0.6),
    ]
    assert reached([first, second], 0.5) == 128 and reached([first, second], 0.99) is None


def test_reports_are_whole_and_self_contained(make_run, tmp_path: Path) -> None:
    two_arms(make_run)
    report = compare(group_by_arm(read_runs([tmp_path / "runs"])[0]), "sdpo", ["<script>alert(1)</script>"])
    paths = write_report(report, tmp_path / "out", title="A & B", command="pmd compare runs")
    markdown, rows, page = (path.read_text() for path in paths)
    assert "| pmd | memory-free | +50.0" in markdown and "```sh\npmd compare runs\n```" in markdown
    found = list(csv.DictReader(rows.splitlines()))
    assert {"sdpo", "pmd", "base"} == {row["arm"] for row in found}
    assert any(row["column"] == "points" and row["value"].startswith("+50.0") for row in found)
    assert "<script" not in page, "a fact is text"
    links = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            links.extend(v for k, v in attrs if k in ("src", "href") and v and not v.startswith("#"))

    Links().feed(page)
    assert not links, "nothing is loaded from elsewhere"
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    drawn = ElementTree.fromstring(svg)
    assert {"pmd", "sdpo"} <= {text.strip() for text in drawn.itertext()}
    assert write_report(report, tmp_path / "out", title="A & B", command="pmd compare runs")[2].read_text() == page


def test_an_arm_keeps_its_colour_whoever_else_is_drawn_and_many_are_drawn_without_ranges(
    make_run, tmp_path: Path
) -> None:
    for number in range(8):
        make_run(f"arm{number}", final=[1], validation=[0.2, 0.4] if number else [0.2], steps=number + 1)
    arms = group_by_arm(read_runs([tmp_path / "runs"])[0])
    few, many = learning_curves(arms[:2], "rollouts"), learning_curves(arms, "rollouts")
    assert few and many and learning_curves(arms[:1], "rollouts") is None, "one point is no curve"
    for drawn in (few, many):
        assert "stroke: #ff7f0e" in drawn and "#1f77b4" not in drawn, "the first arm's colour is its own"
    assert "FillBetween" in few and "FillBetween" not in many


def test_the_command(make_run, tmp_path: Path) -> None:
    two_arms(make_run)
    make_run("pmd-3", seed=3, final=[1], finished=False)
    arguments = ["compare", str(tmp_path / "runs"), "--against", "sdpo", "--to", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "pmd-3 is not finished and left out" in result.output
    assert "1 unfinished runs are left out" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(RunError, match="There is no arm 'grpo'") as error:
        CliRunner().invoke(app, [*arguments[:2], "--against", "grpo"], catch_exceptions=False)
    assert "pmd, sdpo" in error.value.hint


def test_what_cannot_be_compared(make_run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run nothing"):
        read_runs(["nothing"], tmp_path)
    folder = make_run("a-1", final=[1], finished=False)
    with pytest.raises(RunError, match="None of these runs is finished"):
        read_runs([folder])
    make_run("b", final=[1, 0])
    make_run("c", final=[1, 0])
    with pytest.raises(RunError, match="same recipe and the same seed"):
        group_by_arm(read_runs([tmp_path / "runs" / "b", tmp_path / "runs" / "c"])[0])
    (tmp_path / "runs" / "b" / "evaluation" / "final.jsonl").write_text('{"problem": 1}\n')
    with pytest.raises(RunError, match="not as a run of this release: KeyError: 'kind'"):
        read_runs([tmp_path / "runs" / "b"])


def test_no_cell_is_a_formula_to_a_spreadsheet() -> None:
    from pmd_agent.reports.comparison_page import _inert

    assert (
        _inert("=1+1") == "'=1+1"
        and _inert("@x") == "'@x"
        and _inert("+3.1 points") == "+3.1 points"
        and _inert(-1.5) == -1.5
    )
