"""Rows in the hub's schema, made here: both types of test, private tests plain and packed, and everything that can be wrong."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import code_tests, livecodebench
from pmd_agent.recipe.problems import LiveCodeBenchProblems
from pmd_agent.types import Problem

Write = Callable[..., Path]


def cases(count: int, kind: str = "stdin", first: int = 0) -> list[dict[str, str]]:
    return [{"input": f"{i}\n1", "output": str(i + 1), "testtype": kind} for i in range(first, first + count)]


def packed(value: object, protocol: int = 4) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol=protocol))).decode()


def row(number: object = 1, *, kind: str = "stdin", private: object = None, **changes: object) -> dict[str, Any]:
    made = {
        "question_title": "Next",
        "question_content": "Print the next number.",
        "platform": "atcoder",
        "question_id": f"abc{number}",
        "contest_id": "abc",
        "contest_date": "2025-03-01T18:30:00",
        "starter_code": "class Solution:\n    def next(self, a: int, b: int) -> int:\n        "
        if kind == "functional"
        else "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(cases(2, kind)),
        "private_test_cases": packed(json.dumps(cases(5, kind, 2))) if private is None else private,
        "metadata": json.dumps({"func_name": "next"} if kind == "functional" else {}),
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not ...}


def given(problem: Problem) -> list[str]:
    return [test["input"] for test in problem.data["tests"]]


@pytest.mark.parametrize("kind", ["stdin", "functional"])
def test_half_of_the_tests_are_trained_on_and_all_are_scored(write: Write, kind: str) -> None:
    split = livecodebench.load(write("test6.jsonl", *(row(i, kind=kind) for i in range(20))))
    assert [p.id for p in split.train] == [p.id for p in split.test] == [f"livecodebench/abc{i}" for i in range(20)]
    assert split.same_problems is LiveCodeBenchProblems.same_problems is True
    for half, full in zip(split.train, split.test, strict=True):
        assert (half.prompt, half.system, half.kind) == (full.prompt, full.system, "easy")
        assert given(full) == [f"{i}\n1" for i in range(7)]
        assert len(given(half)) == 4 and set(given(half)) < set(given(full)), "half, rounded up"
        assert not any(test["hidden"] for test in half.data["tests"])
        assert {t["input"] for t in full.data["tests"] if not t["hidden"]} == set(given(half))
        assert half.data.get("entry") == ("next" if kind == "functional" else None)
    assert len({tuple(given(half)) for half in split.train}) > 5, "another half for another problem"


def test_the_half_depends_on_seed_and_id_alone(write: Write) -> None:
    path = write("a.jsonl", *(row(i) for i in range(9)))
    halves = {p.id: given(p) for p in livecodebench.load(path).train}
    fewer = livecodebench.load(write("b.jsonl", *(row(i) for i in (7, 3)))).train
    assert {p.id: given(p) for p in fewer}.items() <= halves.items()
    assert {p.id: given(p) for p in livecodebench.load(path, seed=1).train} != halves


def test_a_problem_with_one_test_is_trained_on_it(write: Write) -> None:
    path = write("a.jsonl", row(public_test_cases=json.dumps(cases(1)), private_test_cases="[]"))
    split = livecodebench.load(path)
    assert given(split.train[0]) == given(split.test[0]) == ["0\n1"]


def test_what_the_student_reads(write: Write) -> None:
    script, method = livecodebench.load(write("a.jsonl", row(1), row(2, kind="functional"))).train
    assert script.prompt.startswith("Print the next number.") and "stdin" in script.prompt
    assert "def next(self, a: int, b: int)" in method.prompt and "stdin" not in method.prompt
    assert script.system == method.system and "```python" in script.system
    for problem in (script, method):
        assert '"output"' not in problem.prompt and "5\n1" not in problem.prompt


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(cases(3)),
        json.dumps(cases(3)) + " " * 70_000,
        '[{"input": "é", "output": "😀", "testtype": "stdin"}]',
    ],
)
def test_private_tests_of_every_protocol(protocol: int, text: str) -> None:
    assert code_tests.read_tests(packed(text, protocol), "private_test_cases") == json.loads(text)
    assert code_tests.read_tests(text, "private_test_cases") == json.loads(text)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_refused_and_harmless(tmp_path: Path, write: Write, protocol: int) -> None:
    for value in (
        Bomb(tmp_path / "ran"),
        [Bomb(tmp_path / "ran")],
        {"a": Bomb(tmp_path / "ran")},
        ("[]", Bomb(tmp_path / "ran")),
    ):
        path = write("a.jsonl", row(1), row(2, private=packed(value, protocol)))
        with pytest.raises(ProblemError, match=r"pickle of more than a string .*refused, not run"):
            livecodebench.load(path)
        split = livecodebench.load(path, max_bad_fraction=0.5)
        assert [p.id for p in split.train] == ["livecodebench/abc1"] and "refused, not run" in split.skipped[0]
    assert not (tmp_path / "ran").exists()


def test_a_bomb_of_zeros_is_refused(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr(code_tests, "LARGEST", 1 << 20)
    path = write("a.jsonl", row(private=packed(" " * (1 << 21) + "[]")))
    with pytest.raises(ProblemError, match="larger than 1048576 bytes when decompressed"):
        livecodebench.load(path)


def test_the_window_of_dates(write: Write) -> None:
    days = ["2025-01-31T23:59:59", "2025-02-01T00:00:00", "2025-03-15", "2025-05-31T20:00:00", "2025-06-01T00:00:00"]
    path = write("a.jsonl", *(row(i, contest_date=day) for i, day in enumerate(days)))

    def ids(start: date | None, end: date | None) -> str:
        return "".join(p.id[-1] for p in livecodebench.load(path, start=start, end=end).test)

    assert ids(None, None) == "01234" and ids(date(2025, 2, 1), date(2025, 5, 31)) == "123"
    assert ids(date(2025, 2, 2), None) == "234" and ids(None, date(2025, 2, 1)) == "01"
    with pytest.raises(ProblemError, match=r"None of the 5 problems of .* 2026-01-01 to the last") as caught:
        ids(date(2026, 1, 1), None)
    assert "problems.start" in caught.value.hint


def test_rows_outside_of_the_window_are_not_decoded(write: Write) -> None:
    path = write("a.jsonl", row(1), row(2, contest_date="2020-01-01", private="broken"))
    assert len(livecodebench.load(path, start=date(2025, 1, 1)).train) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question_id": ...}, "no 'question_id'"),
        ({"question_content": " "}, "'question_content' is empty"),
        ({"contest_date": ...}, "no 'contest_date'"),
        ({"contest_date": "soon"}, "'contest_date' is 'soon': not a date"),
        ({"contest_date": 5}, "'contest_date' is an integer"),
        ({"difficulty": None}, "'difficulty' is null"),
        ({"public_test_cases": ..., "private_test_cases": ...}, "neither 'public_test_cases' nor"),
        ({"public_test_cases": "[]", "private": "[]"}, "neither 'public_test_cases' nor"),
        ({"public_test_cases": 3}, "'public_test_cases' is an integer instead of a string"),
        ({"public_test_cases": "{}"}, "'public_test_cases' holds an object instead of a list"),
        ({"public_test_cases": "[1"}, "'public_test_cases' holds no JSON"),
        ({"public_test_cases": "[1]"}, "test 1 of 'public_test_cases' is an integer instead of an object"),
        ({"public_test_cases": '[{"input": "a", "output": 3}]'}, "'output' of test 1"),
        ({"public_test_cases": json.dumps(cases(1, "other"))}, "neither stdin nor functional"),
        ({"public_test_cases": json.dumps(cases(1, "functional"))}, "some tests are of type stdin, some functional"),
        ({"private": "%%%"}, "neither a JSON list nor base64"),
        ({"private": "aGVsbG8="}, "not zlib"),
        ({"private": base64.b64encode(zlib.compress(b"\xff\xff")).decode()}, "no pickle"),
        ({"private": base64.b64encode(zlib.compress(pickle.dumps("[]"))[:-6]).decode()}, "cut off"),
        ({"private": packed(["[]"])}, "pickle of more than a string"),
        ({"private": packed(b"[]")}, "pickle of more than a string"),
        ({"private": packed("hello")}, "holds no JSON"),
        ({"private": packed('{"a": 1}')}, "holds an object instead of a list"),
        ({"kind": "functional", "metadata": "{}"}, "'metadata' has no 'func_name'"),
        ({"kind": "functional", "metadata": "{"}, "'metadata' is not JSON"),
        ({"kind": "functional", "metadata": '{"func_name": "a b"}'}, "'metadata' has no 'func_name'"),
        ({"kind": "functional", "public_test_cases": '[{"input": "[1", "output": "1", "testtype": "functional"}]'}, "not JSON: '"),
    ],
)  # fmt: skip
def test_a_row_that_does_not_fit_says_why(write: Write, changes: dict[str, Any], reason: str) -> None:
    bad = row("bad", **changes)
    path = write("a.jsonl", row(1), bad)
    with pytest.raises(ProblemError) as caught:
        livecodebench.load(path)
    assert "a.jsonl:2: " in caught.value.message and reason in caught.value.message
    assert len(livecodebench.load(path, max_bad_fraction=0.5).skipped) == 1


def test_a_folder_and_parquet(tmp_path: Path, write: Write) -> None:
    import pyarrow
    import pyarrow.parquet

    write("hub/test.jsonl", row(1), row(2))
    rows = [row(3, contest_date=datetime(2025, 3, 1, 12)), row(4, contest_date=datetime(2024, 3, 1, 12))]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "hub/test2.parquet")
    split = livecodebench.load(tmp_path / "hub", start=date(2025, 1, 1), kind="platform")
    assert [p.id[-1] for p in split.train] == ["1", "2", "3"] and {p.kind for p in split.train} == {"atcoder"}
    (tmp_path / "none").mkdir()
    with pytest.raises(ProblemError, match="holds no rows"):
        livecodebench.load(tmp_path / "none")


def test_the_files_of_the_hub_come_from_its_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Write
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    root = "datasets--livecodebench--code_generation_lite"
    write(f"{root}/snapshots/abc/test6.jsonl", row(1))
    (tmp_path / root / "refs").mkdir()
    (tmp_path / root / "refs/main").write_text("abc")
    assert [p.id for p in livecodebench.load(None).train] == ["livecodebench/abc1"]
    with pytest.raises(ProblemError, match=r"code_generation_lite/test5.jsonl cannot be loaded") as caught:
        livecodebench.load(None, files=["test5.jsonl"])
    assert "problems.files" in caught.value.hint


def test_tests_are_kept_small() -> None:
    many = [{"input": "1 " * 50_000, "output": "2 " * 50_000} for _ in range(20)]
    made = code_tests.Tests(many)
    assert len(made._packed) < 100_000
    half = made.half("key")
    assert half._packed is made._packed, "a half is not a copy"
    assert len(half) == 10 and half[0]["input"] == "1 " * 50_000 and "50" not in repr(half)
