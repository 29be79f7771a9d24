"""Where rows come from, which are wanted, and how they are divided: the rules of a recipe on every kind of source."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError, RecipeError
from pmd_agent.problems import ProblemSets, custom_rows, load_problems
from pmd_agent.problems.row_filters import wanted_rows
from pmd_agent.problems.sources import placed
from pmd_agent.recipe import Recipe, dump_recipe, load_recipe, parse_recipe, write_overrides
from pmd_agent.types import Problem

Write = Callable[..., Path]
ROWS = [
    {"n": i, "q": f"What is {i} + 1?", "gold": i + 1, "year": 2000 + i, "level": f"L{i % 3}", "part": ("train", "dev", "test")[i % 3]}
    for i in range(30)
]  # fmt: skip
NAMES = {"prompt": "q", "answer": "gold", "id": "n", "kind": "level"}


def sets_of(**keys: Any) -> ProblemSets:
    return load_problems(parse_recipe({"problems": keys}).problems)


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".json":
            path.write_text(json.dumps(rows))
        case ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def shape(problems: tuple[Problem, ...]) -> list[tuple[str, str, str | None, str]]:
    return [(p.id, p.prompt, p.answer, p.kind) for p in problems]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_file_gives_the_same_problems_by_the_same_rules(tmp_path: Path, suffix: str) -> None:
    keys = {**NAMES, "where": {"year": {"min": 2006, "max": 2026}, "level": ["L0", "L1", "L2"]}, "split_field": "part"}
    sets = sets_of(type="file", path=str(save(tmp_path / f"rows{suffix}", ROWS)), **keys)
    reference = sets_of(type="file", path=str(save(tmp_path / "reference.jsonl", ROWS)), **keys)
    for part, problems in (("train", sets.train), ("validation", sets.validation), ("test", sets.test)):
        assert shape(problems) == shape(getattr(reference, part)) and len(problems) == 7
    assert [p.id for p in sets.train] == [str(n) for n in range(6, 27, 3)]
    assert sets.train[0].answer == "7" and sets.train[0].kind == "L0"


def test_ids_do_not_depend_on_filters_or_on_where_the_file_lies(tmp_path: Path) -> None:
    rows = [{"q": r["q"], "gold": r["gold"], "level": r["level"]} for r in ROWS]
    keys = {"prompt": "q", "answer": "gold", "type": "file", "test_fraction": 0.2}
    whole = sets_of(path=str(save(tmp_path / "a/rows.jsonl", rows)), **keys)
    some = sets_of(path=str(save(tmp_path / "b/rows.jsonl", rows)), where={"level": "L2"}, **keys)
    known = {p.prompt: p.id for p in whole.train + whole.validation + whole.test}
    assert {known[p.prompt] for p in some.train + some.test} == {p.id for p in some.train + some.test}
    assert "rows/3" in [p.id for p in some.train + some.test + some.validation]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({}, 30),
        ({"level": "L1"}, 10),
        ({"level": ["L1", "L2"]}, 20),
        ({"year": 2003}, 1),
        ({"year": "2003"}, 1),
        ({"year": [2003, 2004]}, 2),
        ({"year": {"min": 2025}}, 5),
        ({"year": {"max": 2000}}, 1),
        ({"year": {"min": 2003, "max": 2005}, "level": "L1"}, 1),
        ({"at.deep": True}, 15),
        ({"flag": "yes"}, 10),
    ],
)
def test_filters(write: Write, where: dict[str, Any], kept: int) -> None:
    rows = [r | {"at": {"deep": i % 2 == 0}} | ({"flag": "yes"} if i < 10 else {}) for i, r in enumerate(ROWS)]
    split = custom_rows.load(
        write("a.jsonl", *rows), where=parse_recipe({"problems": {"type": "file", "path": "a", "where": where}}).problems.where, test_fraction=0, **NAMES  # type: ignore[union-attr, arg-type]
    )  # fmt: skip
    assert len(split.train) == kept


def test_a_filter_that_is_a_slip(write: Write) -> None:
    path = write("a.jsonl", *ROWS, {"n": 99, "q": "?", "gold": 1, "year": "soon"})
    with pytest.raises(ProblemError, match=r"No row of .* has a field 'levle' \(given in problems.where\)") as caught:
        custom_rows.load(path, where={"levle": "L1"}, **NAMES)  # type: ignore[arg-type]
    assert caught.value.hint == "Did you mean level?"
    with pytest.raises(ProblemError, match=r"None of the 31 rows of .* is where level=L9"):
        custom_rows.load(path, where={"level": "L9"}, **NAMES)  # type: ignore[arg-type]
    bounds = parse_recipe({"problems": {"type": "file", "path": "a", "where": {"year": {"min": 1}}}}).problems
    with pytest.raises(
        ProblemError, match=r"a\.jsonl:31: 'year' is 'soon' instead of a number, which problems.where bounds"
    ):
        custom_rows.load(path, where=bounds.where, **NAMES)  # type: ignore[union-attr, arg-type]
    with pytest.raises(RecipeError, match=r"problems\.where"):
        parse_recipe({"problems": {"type": "file", "path": "a", "where": {"year": {"least": 1}}}})


def test_filters_survive_being_written_down(tmp_path: Path) -> None:
    where = {"a": 5, "b": ["x", 2], "c": {"min": 3}, "d": "5", "e": True, "f": 2.5}
    recipe = parse_recipe({"problems": {"type": "file", "path": "x", "where": where}})
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "r.yaml") == recipe
    changed = load_recipe(tmp_path / "r.yaml", ["problems.where.a=6", "problems.where.c.min=4"]).problems.where  # type: ignore[union-attr]
    assert changed["a"] == "6" and changed["c"].min == 4  # type: ignore[union-attr]


WRITTEN = ["1.10", "1.1", "010", "8", "0x1F", "0b11", "0o17", "1_000", "1000", "1e3", "+1", ".5", "no", "yes", "on", "off", "True", "null", "~",
           "12:30", "2024-01-02", "2024-01-02 10:00:00", ".inf", ".nan", "=", "NO", "1,5", "C #5"]  # fmt: skip
"""Of all but the last few YAML 1.1 makes something else."""


@pytest.mark.parametrize("written", WRITTEN)
def test_a_filter_sees_what_is_written(tmp_path: Path, written: str) -> None:
    rows = [{"prompt": f"{i}", "answer": "1", "code": code} for i, code in enumerate(WRITTEN)]
    path = save(tmp_path / "rows.jsonl", rows)
    recipe = tmp_path / "r.yaml"
    quoted = f'"{written}"' if "#" in written else written
    file = f"problems:\n  type: file\n  path: {path}\n"
    texts = [f"{file}  where: {{code: {quoted}}}\n" if "," not in quoted else f"{file}  where:\n    code: {quoted}\n"]
    texts += [f"{file}  where:\n    code:\n    - {quoted}\n    - nothing\n", f"{file}  where:\n    code: {quoted}\n"]
    for text in texts:
        recipe.write_text(text)
        loaded = load_recipe(recipe)
        assert wanted(rows, loaded) == [written], text
        recipe.write_text(dump_recipe(loaded))
        assert load_recipe(recipe) == loaded
    recipe.write_text(file)
    for override in (
        f"problems.where.code={written}",
        f'problems.where.code="{written}"',
        f"problems.where.code=['{written}', x]",
    ):
        assert wanted(rows, load_recipe(recipe, [override])) == [written], override
    assert wanted(rows, load_recipe(recipe, write_overrides({"problems.where.code": written}))) == [written]


def wanted(rows: list[dict[str, Any]], recipe: Recipe) -> list[Any]:
    """The field `code` of the rows that a recipe's filter lets through."""
    keep = wanted_rows(recipe.problems.where, placed("rows", rows), "rows")  # type: ignore[union-attr]
    return [row["code"] for row in rows if keep(row)]


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("5", [5, 5.0, "5"]), ("1.10", [1.1, "1.10"]), ("1.1", [1.1, "1.1"]), ("010", ["010"]), ("1e3", [1000, "1e3"]), ("-2.5", [-2.5, "-2.5"]),
        ("true", [True, "true"]), ("True", [True]), ("yes", [True]), ("false", [False]), ("no", [False]), ("null", [None]), ("~", [None]),
        ("1_000", []), ("0x10", []), ("0.1", [0.1]), ("3", []), ("1", []),
    ],
)  # fmt: skip
def test_a_filter_and_values_that_are_no_text(tmp_path: Path, written: str, values: list[object]) -> None:
    rows = [
        {"code": v}
        for v in (
            5,
            5.0,
            "5",
            1.1,
            "1.10",
            "1.1",
            "010",
            8,
            10,
            1000,
            "1e3",
            -2.5,
            "-2.5",
            True,
            False,
            "true",
            None,
            0.1,
        )
    ]
    (tmp_path / "r.yaml").write_text(f"problems:\n  type: file\n  path: x\n  where:\n    code: {written}\n")
    found = wanted(rows, load_recipe(tmp_path / "r.yaml"))
    assert [(type(v), v) for v in found] == [(type(v), v) for v in values]


def test_names_of_fields_are_read_as_written_and_may_have_dots(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "problems:\n  type: file\n  path: x\n  where:\n    on: no\n    2024: 010\n    details.level: L2\n    year: {min: 1e3}\n"
    )
    where = load_recipe(recipe, ["problems.where.details.part=01", "problems.where.year.max=2e3"]).problems.where  # type: ignore[union-attr]
    bounds = where.pop("year")
    assert where == {"on": "no", "2024": "010", "details.level": "L2", "details.part": "01"}
    assert (bounds.min, bounds.max) == (1000.0, 2000.0)  # type: ignore[union-attr]
    whole = load_recipe(recipe, ["problems.where={a: 1.10, b: [no, 010], c: {max: 5}}"]).problems.where  # type: ignore[union-attr]
    assert (whole["a"], whole["b"], whole["c"].max) == ("1.10", ("no", "010"), 5.0)  # type: ignore[union-attr]


def test_elsewhere_yaml_is_as_it_was(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "problems: {type: file, path: x, seed: &s 7, max_bad_fraction: 1e-2, where: {a: *s}}\nepochs: 2\n"
    )
    loaded = load_recipe(recipe)
    assert (loaded.problems.seed, loaded.problems.max_bad_fraction, loaded.problems.where) == (7, 0.01, {"a": "7"})  # type: ignore[union-attr]
    recipe.write_text("problems: {type: file, path: x, where: {a: 1, a: 2}}\n")
    with pytest.raises(RecipeError, match="the key a is given twice"):
        load_recipe(recipe)


def test_a_folder_with_train_and_test(tmp_path: Path) -> None:
    save(tmp_path / "data/train.csv", ROWS[:20])
    save(tmp_path / "data/test.jsonl", ROWS[20:])
    sets = sets_of(type="file", path=str(tmp_path / "data"), validation_fraction=0, **NAMES)
    assert [len(sets.train), len(sets.test)] == [20, 10] and sets.test[0].id == "20"


def test_a_dataset_of_the_hub(tmp_path: Path) -> None:
    """Through the real library: parquet files as the hub keeps them, described by a README."""
    save(tmp_path / "set/main/train-00000-of-00001.parquet", ROWS[:20])
    save(tmp_path / "set/main/test-00000-of-00001.parquet", ROWS[20:])
    (tmp_path / "set/README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n  - split: test\n"
        "    path: main/test-*\n---\n"
    )
    keys = {"type": "hub", "hub": str(tmp_path / "set"), "subset": "main", "validation_fraction": 0, **NAMES}
    sets = sets_of(test_split="test", where={"year": {"min": 2005}}, **keys)
    assert [len(sets.train), len(sets.test)] == [15, 10] and sets.train[0].id == "5"
    one = sets_of(test_fraction=0.25, **keys)
    assert [len(one.train), len(one.test)] == [14, 6], "of each kind"
    nameless = sets_of(**(keys | {"id": None}))
    assert nameless.train[0].id == "set/train/1"
    with pytest.raises(ProblemError, match=r"\[nothing\] cannot be loaded"):
        sets_of(test_split="nothing", **keys)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"split_field": "prt"}, r"has a field 'prt' \(given as problems.split_field\)"),
        ({"split_field": "part", "test_path": "b.jsonl"}, "has a test split of its own"),
        ({"split_field": "level"}, r"'level', which says the split, is 'L0': not train, validation or test"),
        ({"split_field": "part", "where": {"part": ["train", "dev"]}}, "is of the split 'test'"),
        ({"test_path": "b.jsonl", "where": {"year": {"max": 2001}}}, "b of .* has no problem that is wanted"),
    ],
)
def test_a_split_that_cannot_be(
    write: Write, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], reason: str
) -> None:
    path = write("a.jsonl", *ROWS[:20])
    write("b.jsonl", *ROWS[20:])
    monkeypatch.chdir(path.parent)
    with pytest.raises(ProblemError, match=reason):
        sets_of(type="file", path=str(path), **NAMES, **keys)


def test_options_that_the_prompt_does_not_list_are_added(write: Write) -> None:
    rows = [
        {"prompt": "Which?", "answer": "b", "choices": ["one", "two"]},
        {"prompt": "Which?\nA: one\nB: two", "answer": "A", "choices": ["one", "two"]},
        {"prompt": "Which?", "answer": "C", "choices": {"text": ["x", "y"], "label": ["B", "C"]}},
        {"prompt": "A or B?", "answer": "A", "choices": ["A", "B"]},
    ]
    split = custom_rows.load(write("a.jsonl", *rows), test_fraction=0)
    assert [p.prompt for p in split.train] == [
        "Which?\n\nA: one\nB: two", "Which?\nA: one\nB: two", "Which?\n\nB: x\nC: y", "A or B?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verifier", "asked"),
    [
        ("exact", "<answer>"),
        ("multiple_choice", "(A or B)"),
        ("code", "```python"),
        ("my.module:verify", ""),
    ],
)
def test_rows_without_a_system_message_get_the_verifiers(write: Write, verifier: str, asked: str) -> None:
    rows = [{"prompt": f"q{i}", "answer": "A", "choices": ["A", "B"]} for i in range(9)]
    path = write("a.jsonl", *rows, {"prompt": "q", "answer": "A", "system": "Mine."})
    keys = {"type": "file", "path": str(path), "verifier": verifier}
    sets = sets_of(**keys)
    systems = {p.system for p in sets.train + sets.test + sets.validation}
    (other,) = systems - {"Mine."}
    assert "Mine." in systems and asked in other and bool(other) == bool(asked)
    given = sets_of(system_text="Be brief.", **keys)
    assert {p.system for p in given.train + given.test + given.validation} == {"Mine.", "Be brief."}
    assert {p.system for p in sets_of(system_text="", **keys).train} <= {"", "Mine."}
