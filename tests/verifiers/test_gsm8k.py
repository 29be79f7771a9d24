"""All rows of GSM8K: each official solution is right, and with its last number changed it is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pmd_agent.problems import mathematics
from pmd_agent.types import Problem
from pmd_agent.verifiers import Mathematics

pytest.importorskip("math_verify", reason="pip install 'math-verify[antlr4_13_2]'")


@pytest.fixture(scope="module")
def problems() -> tuple[Problem, ...]:
    folder = Path(os.environ.get("PMD_TEST_DATA", "")) / "gsm8k"
    if not (folder / "train.jsonl").is_file():
        pytest.skip("PMD_TEST_DATA names no folder with gsm8k/{train,test}.jsonl")
    split = mathematics.load(folder)
    return split.train + split.test


def changed(number: str) -> list[str]:
    """The number with another last digit, one digit more, and the other sign."""
    last = str((int(number[-1]) + 1) % 10)
    found = [number[:-1] + last, number + "1"]
    return found if float(number) == 0 else [*found, number[1:] if number.startswith("-") else f"-{number}"]


def test_every_official_answer_is_right_and_every_changed_one_wrong(problems: tuple[Problem, ...]) -> None:
    assert len(problems) == 8792
    verifier = Mathematics(processes=1)
    try:
        for problem in problems:
            answer = problem.answer or ""
            assert not set(answer) - set("-.0123456789"), problem.id
            for text in (f"<answer>{answer}</answer>", rf"So it is $\boxed{{\$**{answer}**}}$."):
                assert verifier.verify(problem, text).correct is True, (problem.id, text)
            for other in changed(answer):
                assert verifier.verify(problem, f"<answer>{other} dollars</answer>").correct is False, (
                    problem.id,
                    other,
                )
    finally:
        verifier.close()
