"""What an export says of itself: figures worked out by hand."""

from __future__ import annotations

import json

import pytest

from pmd_agent.evaluation.certificate import certificate, sentences
from pmd_agent.evaluation.finished_runs import ELSEWHERE, read_run
from pmd_agent.evaluation.scores import Outcome

from .conftest import Make


def test_what_was_won_and_lost(make_run: Make) -> None:
    folder = make_run("pmd", base=[1, 1, 0, 0], final=[1, 0, 1, 1], with_memory=[1, 1, 1, 1], validation=[0.5])
    found = certificate(read_run(folder))
    free = found["memory_free"]
    assert (free["before"], free["after"], free["points"]["mean"]) == (0.5, 0.75, 0.25)
    assert free["points"]["low"] < 0.25 < free["points"]["high"]
    assert found["lost"] == {"count": 1, "of": 2, "problems": ["p1"]}
    assert found["won"] == {"count": 2, "of": 2, "problems": ["p2", "p3"]}
    assert found["with_memory"]["after"] == 1.0 and found["with_memory"]["points_over_memory_free"]["mean"] == 0.25
    assert {kind: each["after"] for kind, each in free["by_kind"].items()} == {"a": 1.0, "b": 0.5}
    assert found["test"] == {"problems": 4, "rollouts_each": 1, "practised": False} and found["elsewhere"] == {}
    text = "\n".join(sentences(found))
    assert "on 4 problems that it never practised (one answer each): 50.0% -> 75.0% (+25.0 points [" in text
    assert "Solved before and not now: 1 of 2. Not solved before, and now: 2 of 2." in text
    json.dumps(found, allow_nan=False)


def test_solved_is_more_than_half_of_the_answers(make_run: Make) -> None:
    folder = make_run("pmd", final=[0])
    for name, right in (("base", (3, 2)), ("final", (2, 3))):
        rows = [Outcome(f"p{i}", "", 4, r, False, 0).record() for i, r in enumerate(right)]
        rows.append(Outcome("broken", "", 0, 0, False, 4).record())  # never checked: of no account
        (folder / "evaluation" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = certificate(read_run(folder))
    assert found["lost"]["problems"] == ["p0"] and found["won"]["problems"] == ["p1"]
    assert found["test"] == {"problems": 2, "rollouts_each": 4, "practised": False} and "4 answers each" in next(
        sentences(found)
    )


def test_what_it_does_elsewhere(make_run: Make) -> None:
    folder = make_run("pmd", final=[1])
    for name, right in (("base", 1), ("final", 0)):
        path = folder / "evaluation" / ELSEWHERE / "arithmetic" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(Outcome("q", "", 1, right, False, 0).record()) + "\n")
    found = certificate(read_run(folder))
    assert found["elsewhere"]["arithmetic"]["lost"] == {"count": 1, "of": 1, "problems": ["q"]}
    assert found["elsewhere"]["arithmetic"]["points"] == {"mean": -1.0, "low": None, "high": None}
    said = list(sentences(found))[-1]
    assert said == "Elsewhere, on arithmetic: 100.0% -> 0.0% (-100.0 points; one problem has no interval)."
    json.dumps(found, allow_nan=False)


def test_problems_that_were_practised_are_not_called_new(make_run: Make) -> None:
    folder = make_run("pmd", base=[0, 0], final=[1, 1], problems={"type": "livecodebench", "path": "rows"})
    found = certificate(read_run(folder))
    assert found["test"]["practised"] is True
    assert "on 2 problems that it practised, by all of their tests (one answer each)" in next(sentences(found))
    assert not any("never practised" in line for line in sentences(found))


@pytest.mark.parametrize("missing", ["base", "final"])
def test_what_was_not_measured_is_not_made_up(make_run: Make, missing: str) -> None:
    folder = make_run("pmd", base=[0, 1], final=[1, 1])
    (folder / "evaluation" / f"{missing}.jsonl").unlink()
    found = certificate(read_run(folder))
    assert found["memory_free"]["points"] is None and found["lost"] is None and found["with_memory"]["after"] is None
    assert ("not measured" in next(sentences(found))) == (missing == "final")
