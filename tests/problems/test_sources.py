from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems.sources import load_hub, read, read_rows

Write = Callable[..., Path]
ROWS = [{"prompt": "1 + 1", "answer": "2"}, {"prompt": 'a, "b"\nc\u2028d', "answer": "é"}]


def write_as(path: Path) -> Path:
    match path.suffix:
        case ".jsonl":
            path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
        case ".csv":
            path.write_text('prompt,answer\n1 + 1,2\n"a, ""b""\nc\u2028d",é\n', encoding="utf-8")
        case ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    assert read_rows(write_as(tmp_path / f"rows{suffix}")) == ROWS


def test_the_place_of_a_row_is_its_line(tmp_path: Path) -> None:
    places = [(row.where, row.number) for row in read(write_as(tmp_path / "rows.jsonl"))]
    assert places == [(f"{tmp_path}/rows.jsonl:1", 1), (f"{tmp_path}/rows.jsonl:3", 2)]


def test_json_lines_under_the_name_json_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(json.dumps(row).encode() for row in ROWS))
    assert read_rows(path) == ROWS
    path.write_text(json.dumps(ROWS[0]))
    assert read_rows(path) == ROWS[:1]


def test_a_parquet_file_in_a_folder_named_like_a_partition_gets_no_further_column(tmp_path: Path) -> None:
    folder = tmp_path / "lr=1e-4"
    folder.mkdir()
    assert read_rows(write_as(folder / "rows.parquet")) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b'{"a": 1}\nhello\n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1 is not JSON"),
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.jsonl", b"\n \n", "a.jsonl is empty"),
        ("a.jsonl", b'{"a": "\xff"}', "a.jsonl is not UTF-8 text"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "a.jsonl:2: a list instead of a JSON object"),
        ("a.json", b"", "a.json is empty"),
        ("a.json", b"[]", "a.json is empty"),
        ("a.json", b'{\n"data": [1]}', "a.json holds an object instead of a list"),
        ("a.json", b"3", "a.json holds an integer instead of a list"),
        ("a.json", b'[\n{"a": 1},\n{"a" 2}]', "a.json:3 is not JSON"),
        ("a.json", b'{"a": 1}\n{"a" 2}\n', "a.json:2 is not JSON"),
        ("a.json", b"[null]", "a.json row 1: null instead of a JSON object"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"prompt,answer\n", "a.csv is empty"),
        ("a.csv", b"prompt,answer\na,b\na,b,c\n", "a.csv:3 has more than the header's 2 fields"),
        ("a.csv", b"prompt,prompt\na,b\n", "a.csv:1: the header has a column twice"),
        ("a.csv", b'prompt,answer\n"a"b,c\n', "a.csv:2 is not CSV"),
        ("a.parquet", b"no parquet", "a.parquet is not parquet"),
        ("a.txt", b"hello", ".txt is not a kind of file that can be read"),
        ("a", b"hello", "a name without a suffix is not a kind of file"),
    ],
)
def test_what_cannot_be_read_is_one_error_with_its_own_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ProblemError) as caught:
        read_rows(path)
    assert reason in caught.value.message


def test_a_csv_field_may_be_of_any_length(tmp_path: Path) -> None:
    rows = [{"prompt": "word " * 40_000, "answer": "1"}, {"prompt": 'a "b"\n' * 40_000, "answer": "2"}]
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    before = csv.field_size_limit()
    assert read_rows(path) == rows and csv.field_size_limit() == before


def test_a_missing_file_names_the_nearest_ones(tmp_path: Path, write: Write) -> None:
    write("data/train.jsonl", {"a": 1})
    with pytest.raises(ProblemError, match=r"There is no .*/data/trian\.jsonl") as caught:
        read(tmp_path / "data" / "trian.jsonl")
    assert caught.value.hint == f"Did you mean {tmp_path}/data/train.jsonl?"
    with pytest.raises(ProblemError) as caught:
        read(tmp_path / "dta" / "train.jsonl")
    assert caught.value.hint == f"Did you mean {tmp_path}/data?"
    with pytest.raises(ProblemError) as caught:
        read(tmp_path / "data" / "x")
    assert caught.value.hint == f"{tmp_path}/data holds: train.jsonl."


def test_a_folder_is_not_a_file(tmp_path: Path, write: Write) -> None:
    write("train.jsonl", {"a": 1})
    with pytest.raises(ProblemError, match="is a folder") as caught:
        read(tmp_path)
    assert "train.jsonl" in caught.value.hint


def test_load_hub_reads_a_folder_of_the_hubs_shape(tmp_path: Path, write: Write) -> None:
    write("test.jsonl", *ROWS)
    write("train.jsonl", ROWS[0])
    assert load_hub(str(tmp_path), split="test") == ROWS
    assert load_hub(str(tmp_path), split="train") == ROWS[:1]


def test_load_hub_reads_a_named_subset(tmp_path: Path, write: Write) -> None:
    config = "- config_name: {0}\n  data_files:\n  - split: test\n    path: data/{0}.jsonl\n"
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{config.format('v1')}{config.format('v2')}---\n")
    write("data/v1.jsonl", ROWS[0])
    write("data/v2.jsonl", ROWS[1])
    assert load_hub(str(tmp_path), subset="v2", split="test") == ROWS[1:]
    with pytest.raises(ProblemError) as caught:
        load_hub(str(tmp_path), subset="v3", split="test")
    assert "v3" in caught.value.message and "subset" in caught.value.hint


def test_load_hub_says_what_is_missing(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ProblemError, match=r"nobody/nothing \[test\] cannot be loaded") as caught:
        load_hub("nobody/nothing", split="test")
    assert "network" in caught.value.hint
    write("test.jsonl", ROWS[0])
    with pytest.raises(ProblemError) as caught:
        load_hub(str(tmp_path), split="train")
    assert "[train] cannot be loaded" in caught.value.message and "split" in caught.value.hint


def test_load_hub_leaves_progress_bars_as_they_were_and_prints_nothing(
    tmp_path: Path, write: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    import datasets

    write("test.jsonl", ROWS[0])
    datasets.enable_progress_bars()
    load_hub(str(tmp_path), split="test")
    assert not datasets.are_progress_bars_disabled()
    assert capfd.readouterr() == ("", "")


def test_importing_the_packages_does_not_import_what_is_slow() -> None:
    code = (
        "import sys, pmd_agent.problems, pmd_agent.problems.sciknoweval, pmd_agent.problems.custom_rows, pmd_agent.verifiers;"
        "print(sorted({'torch', 'datasets', 'pyarrow', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
