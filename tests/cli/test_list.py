"""pmd list, and what other programs read of commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pmd_agent.cli import app
from pmd_agent.evaluation.overview import overview
from pmd_agent.recipe import parse_recipe
from pmd_agent.runs.folder import RunDir


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("one", "two", "sweep/pmd-1"):
        parent = tmp_path / Path(name).parent
        run = RunDir.create(
            parse_recipe(
                {"name": Path(name).name, "runs": str(parent), "steps": 1, "policy": {"type": "local", "model": "box"}}
            )
        )
        run.write_json("evaluation/base.json", {"avg": 0.25})
        if name == "one":
            run.commit(0, {"step": 0}, [], lambda folder: None, last=True)
            run.write_json("evaluation/final.json", {"avg": 0.5})
            run.write_json("summary.json", {"steps": 1})
    (tmp_path / "two" / "state.json").write_text("{")
    return tmp_path


def test_each_run_has_a_row_whatever_its_state(runs: Path) -> None:
    found = {row["name"]: row for row in overview(runs)}
    assert set(found) == {"one", "two", "sweep/pmd-1"}
    assert (found["one"]["state"], found["one"]["step"], found["one"]["base"], found["one"]["final"]) == (
        "finished",
        1,
        0.25,
        0.5,
    )
    assert (found["sweep/pmd-1"]["state"], found["sweep/pmd-1"]["step"]) == ("unfinished", 0)
    assert found["two"]["state"] == "damaged" and "state.json" in found["two"]["why"]


def test_the_list_for_people_and_for_programs(runs: Path) -> None:
    shown = CliRunner().invoke(app, ["list", str(runs)])
    assert shown.exit_code == 0 and "finished" in shown.output and "50.0%" in shown.output and "1/1" in shown.output
    read = CliRunner().invoke(app, ["list", str(runs), "--json"])
    rows = [json.loads(line) for line in read.output.splitlines()]
    assert rows == overview(runs)
    nothing = CliRunner().invoke(app, ["list", str(runs / "nowhere")])
    assert nothing.exit_code == 0 and "There are no runs" in nothing.output


def test_a_doctor_for_programs() -> None:
    read = CliRunner().invoke(app, ["doctor", "--json"])
    rows = [json.loads(line) for line in read.output.splitlines()]
    assert {"name", "state", "found", "mend"} <= set(rows[0]) and any(
        row["name"].lower().startswith("python") for row in rows
    )


def test_a_figure_that_is_none_is_damage_of_one_run(runs: Path) -> None:
    (runs / "one" / "evaluation" / "base.json").write_text('{"avg": "x"}')
    found = {row["name"]: row for row in overview(runs)}
    assert found["one"]["state"] == "damaged" and "base.json is damaged: avg is 'x'" in found["one"]["why"]
    assert CliRunner().invoke(app, ["list", str(runs)]).exit_code == 0
