"""Banks: out, in and out again is the same; bad files are refused whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.memory.bank import export_bank, generation_of, import_bank, read_bank, take_back
from pmd_agent.memory.effects import Sums
from pmd_agent.types import TIERS

HOSTILE = ["a\x00b", "\ud83d\ude00", "<|im_end|>", "\x100000", "line\u2028line\r\n", "x" * 50_000]


@pytest.fixture
def full(memory: Memory, make: SimpleNamespace) -> Memory:
    """Seven steps, hostile texts, sources that are archived by now, and some that fared well or badly."""
    for step in range(7):
        make.write_step(memory, step)
    attempts = [make.experience(f"7/h/{i}", text=t, answer=t, feedback=t) for i, t in enumerate(HOSTILE)]
    memory.add_experiences(attempts)
    memory.rewrite_insights("h", [make.insight("7/h/strategy-0", text=HOSTILE[1], sources=[e.id for e in attempts])])
    memory.rewrite_insights("h", [make.insight("8/h/strategy-0", text="other", sources=("7/h/0",))])
    memory.replace_behaviors([make.behavior("8/behavior_h", sources=("7/h/strategy-0",))], 8)
    memory.note(5, uses={"7/h/0": 3}, tried={"8/h/strategy-0": [3, 1.5, 0.75]})
    memory.note(8, uses={"7/h/0": 1}, states={"8/behavior_h": ["quarantined", "harm"]})
    return memory


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_out_in_and_out_again_is_the_same(full: Memory, tmp_path: Path, form: str) -> None:
    first, second = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
    count = export_bank(full, first)
    # Another embedder: vectors are not part of a bank.
    with Memory.open(tmp_path / "other", HashingEmbedder(128)) as other:
        assert import_bank(other, first) == count
        other.rollback(0)  # what every run does when it starts
        assert export_bank(other, second) == count
        for tier in TIERS:
            assert other.list(tier) == full.list(tier)
        (rule,) = other.behaviors()
        assert [s.text for s in other.sources_of(rule)] == [HOSTILE[1]], "archived, and still its source"
        assert other.effects().uses("7/h/0") == 4
        tried = other.effects().tried("8/h/strategy-0")
        assert tried == full.effects().tried("8/h/strategy-0") != Sums(), "faded as it was, not fresh"
        assert other.effects().state(rule.id) == "quarantined"
    assert first.read_bytes() == second.read_bytes()
    assert not list(tmp_path.glob("*.tmp"))


def test_both_forms_hold_the_same(full: Memory, tmp_path: Path) -> None:
    export_bank(full, tmp_path / "a.jsonl")
    export_bank(full, tmp_path / "a.parquet")
    assert read_bank(tmp_path / "a.jsonl") == read_bank(tmp_path / "a.parquet")


def test_what_a_run_writes_never_takes_the_id_of_a_banks_entry(
    full: Memory, tmp_path: Path, make: SimpleNamespace
) -> None:
    assert generation_of(full) == 0
    export_bank(full, tmp_path / "a.jsonl")
    with Memory.open(tmp_path / "other", HashingEmbedder(64)) as other:
        import_bank(other, tmp_path / "a.jsonl")
        assert generation_of(other) == 1
        other.add_experiences([make.experience("3/p1/0", id="g1/3/p1/0", text="mine")])
        other.rollback(3)
        assert other.get("g1/3/p1/0") is None and other.get("3/p1/0") == full.get("3/p1/0")
        other.add_experiences([make.experience("3/p1/0", id="g1/3/p1/0", text="mine")])
        export_bank(other, tmp_path / "b.jsonl")
    with Memory.open(tmp_path / "third", HashingEmbedder(64)) as third:
        import_bank(third, tmp_path / "b.jsonl")
        assert generation_of(third) == 2


def test_nor_that_of_one_that_was_merged_into_it(memory: Memory, tmp_path: Path, make: SimpleNamespace) -> None:
    memory.rewrite_insights("p", [make.insight("1/p/lesson-0", text="said twice", merged=("g3/1/p/lesson-0",))])
    export_bank(memory, tmp_path / "a.jsonl")
    with Memory.open(tmp_path / "other", HashingEmbedder(64)) as other:
        import_bank(other, tmp_path / "a.jsonl")
        assert generation_of(other) == 4


def test_an_import_that_was_killed_is_begun_anew(full: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = export_bank(full, tmp_path / "a.jsonl")
    with Memory.open(tmp_path / "other", HashingEmbedder(64)) as other:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            real = Memory.put

            def killed(self: Memory, tier: str, *rest: object, step: int) -> None:
                if tier == "behavior":
                    raise KeyboardInterrupt
                real(self, tier, *rest, step=step)  # type: ignore[arg-type]

            patch.setattr(Memory, "put", killed)
            import_bank(other, tmp_path / "a.jsonl")
        assert other.counts()["experience"] and take_back(other) and not any(other.counts().values())
        assert import_bank(other, tmp_path / "a.jsonl") == count and not take_back(other)
        export_bank(other, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_bank_is_read_into_an_empty_memory_only(full: Memory, tmp_path: Path) -> None:
    export_bank(full, tmp_path / "a.jsonl")
    with pytest.raises(MemoryStoreError, match="empty memory"):
        import_bank(full, tmp_path / "a.jsonl")


def broken(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    return lambda path: (
        path.write_text("\n".join(change(path.read_text("utf-8").splitlines())) + "\n", "utf-8") and None
    )


def changed(line: str, **fields: object) -> str:
    """A row whose entry has other values."""
    row = json.loads(line)
    return json.dumps(row | {"entry": json.dumps(json.loads(row["entry"]) | fields)})


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (broken(lambda lines: lines[1:]), "header"),
        (broken(lambda lines: []), "header"),
        (broken(lambda lines: [json.dumps({"format": "pmd-memory-bank", "schema": 99}), *lines[1:]]), "schema 99"),
        (broken(lambda lines: [*lines, lines[1][: len(lines[1]) // 2]]), "no bank that can be read"),
        (broken(lambda lines: [*lines, json.dumps(json.loads(lines[1]) | {"entry": "{}"})]), "entry 2:"),
        (broken(lambda lines: [*lines, json.dumps(json.loads(lines[1]) | {"state": "odd"})]), "entry 2: .*odd"),
        (broken(lambda lines: lines[:-1]), "it has 0 entries, and its header tells of 1"),
        (broken(lambda lines: [*lines, lines[1]]), "entry 2: the experience '3/p/0' is there twice"),
        (broken(lambda lines: [*lines, json.dumps(json.loads(lines[1]) | {"entry": "[]"})]), "entry 2:"),
        (broken(lambda lines: [lines[0], changed(lines[1], reward=None)]), "entry 1: its reward is None"),
        (broken(lambda lines: [lines[0], changed(lines[1], step="x")]), "entry 1: its step is 'x'"),
        (broken(lambda lines: [lines[0], changed(lines[1], text=7)]), "entry 1: its text is 7"),
        (broken(lambda lines: [lines[0], json.dumps(json.loads(lines[1]) | {"uses": math.inf})]), "entry 1:"),
        (
            broken(lambda lines: [lines[0], json.dumps(json.loads(lines[1]) | {"tried": [math.nan, 0, 0]})]),
            "entry 1: tried",
        ),
        (lambda path: path.write_bytes(b"\xff\xfe"), "no bank that can be read"),
        (lambda path: path.unlink(), "There is no bank"),
    ],
)
def test_a_bad_file_is_refused_and_leaves_nothing(
    memory: Memory, make: SimpleNamespace, tmp_path: Path, breaks: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "a.jsonl"
    memory.add_experiences([make.experience()])
    export_bank(memory, path)
    breaks(path)
    with Memory.ephemeral(HashingEmbedder(64)) as other:
        with pytest.raises(MemoryStoreError, match=says) as refused:
            import_bank(other, path)
        assert refused.value.hint and not any(other.counts().values())


def test_a_bad_parquet_and_an_unknown_form_are_refused(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(MemoryStoreError, match="no bank that can be read"):
        import_bank(memory, tmp_path / "a.parquet")
    with pytest.raises(MemoryStoreError, match="no ending"):
        export_bank(memory, tmp_path / "a.csv")
    with pytest.raises(MemoryStoreError, match="cannot be written"):
        export_bank(memory, tmp_path / "missing" / "a.jsonl")


def test_a_bank_of_the_schema_before_is_read(full: Memory, tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    export_bank(full, path)
    header, *rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    old = [{**header, "schema": 2}, *({**row, "evidence": [1, 0.5, 0.25, 0, 0, 0]} for row in rows)]
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old), "utf-8")
    assert read_bank(tmp_path / "old.jsonl") == read_bank(path)
