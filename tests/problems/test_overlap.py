from __future__ import annotations

from pmd_agent.problems import ProblemSets
from pmd_agent.problems.overlap import Repeated, overlaps, repeated, shared
from pmd_agent.types import Problem


def test_the_same_prompt_under_two_ids() -> None:
    problems = [Problem("a", "What is\n1 + 1?"), Problem("b", "x"), Problem("c", " what is 1 + 1? ", "2")]
    assert repeated(problems) == (Repeated(("a", "c"), answers=True),)
    assert repeated([*problems[:2], Problem("d", "X")]) == (Repeated(("b", "d"), answers=False),)
    assert repeated(problems[:2]) == ()


def test_what_two_parts_share_names_both_ids() -> None:
    one = [Problem("a", "x"), Problem("b", "y"), Problem("c", "y")]
    assert shared(one, [Problem("d", "Y"), Problem("e", "z")]) == (Repeated(("b", "d")),)
    assert shared(one, [Problem("c", "y")]) == (), "the same problem, as of LiveCodeBench, is no overlap"


def test_overlaps_of_all_parts() -> None:
    x, y = Problem("x", "x", "1"), Problem("y", "x", "1")
    found = overlaps(ProblemSets((x, y), (Problem("v", "x", "2"),), (Problem("t", "x", "1"),)))
    assert {name: [r.ids for r in group] for name, group in found.items()} == {
        "twice in training": [("x", "y")],
        "in training and in validation": [("x", "v")],
        "in training and in test": [("x", "t")],
        "in validation and in test": [("v", "t")],
    }
    assert found["in training and in validation"][0].answers and not found["in training and in test"][0].answers
