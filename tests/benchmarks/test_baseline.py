"""Baselines as files, and what counts as a drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmd_agent.distillation.baselines import Figure, drifted, read, write
from pmd_agent.errors import RunError
from tests.benchmarks.baseline import FOLDER, WAYS, path_of


def test_ten_percent_more_is_a_drift_and_less_is_none() -> None:
    before = {"shared": Figure(1.0, 0.1, 15), "whole": Figure(2.0, 0.1, 15)}
    assert drifted(before, {"shared": Figure(1.09, 0.1, 15), "whole": Figure(0.5, 0.1, 15)}) == []
    assert drifted(before, {"shared": Figure(1.11, 0.1, 15), "whole": Figure(2.0, 0.1, 15)}) == [
        "shared: 1.110 s, 1.11 times the baseline's 1.000"
    ]
    assert drifted(before, {"shared": Figure(1.11, 0.3, 15), "whole": Figure(2.0, 0.1, 15)}) == [], "as likely noise"
    assert drifted(before, {"shared": Figure(1.0, 0.1, 15)}) == ["whole is not measured any more"]


def test_a_figure_is_the_median_and_the_middle_half() -> None:
    assert Figure.of([1.0, 2.0, 3.0, 4.0, 100.0]) == Figure(3.0, 50.5, 5)
    assert Figure.of([2.0]) == Figure(2.0, 0.0, 1)


def test_a_file_comes_back(tmp_path: Path) -> None:
    figures = {"shared": Figure(1.0, 0.1, 15)}
    write(tmp_path / "new" / "a.json", "NVIDIA H200", {"steps": 15}, figures)
    assert read(tmp_path / "new" / "a.json") == figures
    assert path_of("NVIDIA H200").name == "nvidia-h200.json"


@pytest.mark.parametrize("text", ["", "[]", '{"figures": {"a": {"median": 1}}}'])
def test_another_file_is_no_baseline(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RunError, match=r"a.json is no baseline"):
        read(tmp_path / "a.json")


def test_the_files_that_are_kept_hold_what_is_measured() -> None:
    kept = list(FOLDER.glob("*.json"))
    assert kept and all(read(path).keys() == WAYS.keys() for path in kept)
