from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems import sciknoweval
from pmd_agent.problems.choices import letters_in
from pmd_agent.problems.overlap import shared

Write = Callable[..., Path]
SIZES = {"biology": (450, 50), "chemistry": (1890, 210), "material": (841, 94)}


def prepared(idx: object = 0, **changes: object) -> dict[str, Any]:
    prompt = "Which?\n\nA: one\nB: two\nC: three\nD: four\nPlease reason step by step."
    row = {"idx": idx, "kind": "mcq", "prompt": prompt, "answer": "B", "system": "\nAnswer with a letter.\n"}
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


def original(question: object = "Which?", **changes: object) -> dict[str, Any]:
    row = {
        "question": question,
        "choices": {"text": ["one", "two", "three", "four"], "label": ["A", "B", "C", "D"]},
        "answerKey": "C",
        "answer": "",
        "domain": "Chemistry",
        "details": {"level": "L3", "task": "t", "subtask": "s", "source": "x"},
        "type": "mcq-4-choices",
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


# the real rows, as SDPO prepared them


@pytest.mark.parametrize("domain", SIZES)
def test_a_real_domain_loads_whole(real: Path, domain: str) -> None:
    split = sciknoweval.load(real / domain)
    assert (len(split.train), len(split.test)) == SIZES[domain]
    assert {p.kind for p in split.train + split.test} == {domain}


def test_all_real_domains_load_together(real: Path) -> None:
    split = sciknoweval.load(real)
    everything = split.train + split.test
    assert Counter(p.kind for p in split.train) == {domain: train for domain, (train, _) in SIZES.items()}
    assert Counter(p.kind for p in split.test) == {domain: test for domain, (_, test) in SIZES.items()}
    assert len({p.id for p in everything}) == len(everything) == 3535
    assert all(re.fullmatch(rf"sciknoweval/{p.kind}/\d+", p.id) for p in everything)
    assert all(p.answer in p.data["choices"] for p in everything)
    assert Counter("".join(p.data["choices"]) for p in everything) == {"ABCD": 3335, "AB": 200}
    assert all(p.system == p.system.strip() and "<answer>" in p.system for p in everything)
    assert split.skipped == ()
    assert sciknoweval.load(real) == split


def test_one_real_question_is_in_train_and_in_test(real: Path) -> None:
    split = sciknoweval.load(real)
    (found,) = shared(split.train, split.test)
    train_id, test_id = found.ids
    assert train_id.startswith("sciknoweval/material/") and test_id.startswith("sciknoweval/material/")


def test_domains_are_chosen_by_name_in_any_case(real: Path) -> None:
    split = sciknoweval.load(real, domains=["Material", "BIOLOGY"])
    assert {p.kind for p in split.train} == {"material", "biology"}
    assert len(split.train) == 841 + 450


def test_the_real_rows_in_the_hubs_schema_give_the_same_problems_and_the_same_split(
    real: Path, tmp_path: Path, write: Write
) -> None:
    ours = sciknoweval.load(real)
    by_position = sorted(ours.train + ours.test, key=lambda p: (p.kind, int(p.id.rsplit("/", 1)[1])))
    rows = []
    for problem in by_position:
        body = problem.prompt.removesuffix("\nPlease reason step by step.")
        first = body.rindex("\n\nA: ")
        texts = re.split(r"\n(?=[A-D]: )", body[first + 2 :])
        choices = {"label": [text[0] for text in texts], "text": [text[3:] for text in texts]}
        rows.append(original(body[:first], choices=choices, answerKey=problem.answer, domain=problem.kind.title()))
        rows.append(original("easy", details={"level": "L1"}, domain=problem.kind.title()))
    write("test.jsonl", *rows)
    theirs = sciknoweval.load(tmp_path)
    assert {p.id for p in theirs.test} == {p.id for p in ours.test}
    assert {p.id: (p.prompt, p.answer, dict(p.data)) for p in theirs.train} == {
        p.id: (p.prompt, p.answer, dict(p.data)) for p in ours.train
    }


# schema (a)


def test_a_prepared_folder(tmp_path: Path, write: Write) -> None:
    write("Physics/train.jsonl", prepared(3), prepared("x7", system=...))
    write("Physics/test.jsonl", prepared(4, answer=" a ", prompt="What?\n\nA: one\nB: two\nPlease"))
    split = sciknoweval.load(tmp_path / "Physics")
    first, second = split.train
    assert (first.id, first.kind, first.answer) == ("sciknoweval/physics/3", "physics", "B")
    assert first.system == "Answer with a letter." and first.data == {"choices": ("A", "B", "C", "D")}
    assert second.id == "sciknoweval/physics/x7" and "A, B, C or D" in second.system
    assert split.test[0].answer == "A" and split.test[0].data["choices"] == ("A", "B")
    assert sciknoweval.load(tmp_path) == split, "the folder above gives the same"


def test_a_prepared_row_without_option_lines_has_no_known_choices(tmp_path: Path, write: Write) -> None:
    write("d/train.jsonl", prepared(0, prompt="A or B?"))
    write("d/test.jsonl", prepared(1))
    (problem,) = sciknoweval.load(tmp_path / "d").train
    assert problem.data == {} and problem.answer == "B"


@pytest.mark.parametrize(
    ("prompt", "letters"),
    [
        ("Q\n\nA: x\nB: y", "AB"),
        ("Q\nA: x\nmore of x\nB: y\nC: z\nD: w\nPlease", "ABCD"),
        ("A: says who?\nB: me\n\nA: x\nB: y\nC: z", "ABC"),
        ("A: one\nB: two\nC: three\n\nA: x\nB: y", "AB"),
        ("\n".join(f"{letter}: x" for letter in "ABCDEFGHIJC"), "ABCDEFGHIJ"),
        ("D: density\n\nA: x\nB: y", "AB"),
        ("Q\nA: x\nC: y\nB: z", "AB"),
        ("Q\n A: x\n B: y", ""),
        ("Q\nA: only", ""),
        ("Q\na: x\nb: y", ""),
        ("\n".join(f"{letter}: x" for letter in "ABCDEFGHIJK"), "ABCDEFGHIJ"),
    ],
)
def test_letters_in_a_prompt(prompt: str, letters: str) -> None:
    assert "".join(letters_in(prompt)) == letters


BAD_PREPARED = {
    "a list instead of a JSON object": [1],
    "a string instead of a JSON object": '"text"',
    "null instead of a JSON object": "null",
    "no 'idx'": prepared(...),
    "'idx' is a decimal number instead of an integer or a string": prepared(1.5),
    "'idx' is true or false instead": prepared(True),
    "'kind' is 'code': not multiple choice": prepared(kind="code"),
    "'kind' is an integer instead of a string": prepared(kind=3),
    "no 'prompt' (it has: idx, kind, answer, system)": prepared(prompt=...),
    "'prompt' is null": prepared(prompt=None),
    "'prompt' is a list instead of a string": prepared(prompt=["Which?"]),
    "'prompt' is empty": prepared(prompt=" \n"),
    "'prompt' holds a character that UTF-8 cannot": prepared(prompt="half a pair: \ud83d"),
    "no 'answer'": prepared(answer=...),
    "'answer' is null": prepared(answer=None),
    "'answer' is an integer instead of a string": prepared(answer=2),
    "'answer' is empty": prepared(answer=""),
    "'answer' is 'two' instead of the letter": prepared(answer="two"),
    "'answer' is 'E', but the options are A, B, C, D": prepared(answer="E"),
    "'system' is an object instead of a string": prepared(system={}),
    "the id 'sciknoweval/d/7' was already taken by": prepared(7),
}


@pytest.mark.parametrize("reason", BAD_PREPARED)
def test_a_prepared_row_that_does_not_fit_is_named_with_its_reason(tmp_path: Path, write: Write, reason: str) -> None:
    write("d/train.jsonl", prepared(7), BAD_PREPARED[reason], prepared(8))
    write("d/test.jsonl", prepared(9))
    with pytest.raises(ProblemError) as caught:
        sciknoweval.load(tmp_path / "d")
    assert f"{tmp_path}/d/train.jsonl:2: {reason}" in caught.value.message
    assert "1 of 4 rows" in caught.value.message
    assert "problems.max_bad_fraction=0.25" in caught.value.hint


def test_an_id_in_train_and_in_test_is_an_error(tmp_path: Path, write: Write) -> None:
    write("d/train.jsonl", prepared(1))
    write("d/test.jsonl", prepared(1))
    with pytest.raises(ProblemError, match=r"test\.jsonl:1: the id .* was already taken by .*train\.jsonl:1"):
        sciknoweval.load(tmp_path / "d")


def test_the_first_five_reasons_are_listed_and_all_are_counted(tmp_path: Path, write: Write) -> None:
    write("d/train.jsonl", *[prepared(i, answer=... if i % 10 == 0 else "A") for i in range(100)])
    write("d/test.jsonl", *[prepared(1000 + i) for i in range(100)])
    with pytest.raises(ProblemError) as caught:
        sciknoweval.load(tmp_path / "d")
    message = caught.value.message
    assert message.startswith(f"10 of 200 rows of {tmp_path}/d cannot be used:")
    assert message.count("train.jsonl:") == 5 and "train.jsonl:41:" in message and "... and 5 more" in message
    assert caught.value.hint.endswith("problems.max_bad_fraction=0.05")
    with pytest.raises(ProblemError):
        sciknoweval.load(tmp_path / "d", max_bad_fraction=0.04)
    split = sciknoweval.load(tmp_path / "d", max_bad_fraction=0.05)
    assert len(split.train) == 90 and len(split.skipped) == 10 and "no 'answer'" in split.skipped[0]


def test_a_file_of_another_schema_is_told_from_a_few_bad_rows(tmp_path: Path, write: Write) -> None:
    write("d/train.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": 0})
    write("d/test.jsonl", prepared(9))
    with pytest.raises(ProblemError) as caught:
        sciknoweval.load(tmp_path / "d")
    assert "is it the right file? The first row has: text, label." in caught.value.hint


# schema (b), through `datasets`, offline


def hub_folder(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    """As the hub has it: one configuration, one split, rows in a sub-folder."""
    folder = tmp_path / "SciKnowEval"
    (folder / "data" / "v2").mkdir(parents=True)
    config = "- config_name: v2\n  data_files:\n  - split: test\n    path: data/v2/sciknoweval_test_v2.jsonl\n"
    (folder / "README.md").write_text(f"---\nlicense: mit\nconfigs:\n{config}---\n# SciKnowEval\n")
    rows_text = "\n".join(json.dumps(row) for row in rows)
    (folder / "data" / "v2" / "sciknoweval_test_v2.jsonl").write_text(rows_text)
    return folder


def hub_rows() -> list[dict[str, Any]]:
    pair = {"text": ["yes", "no"], "label": ["A", "B"]}
    chemistry = [original(f"c{i}") for i in range(30)]
    biology = [
        original(f"b{i}", domain="Biology", type="mcq-2-choices", choices=pair, answerKey="A") for i in range(10)
    ]
    others = [
        original("level 1", details={"level": "L1"}),
        original("open", type="open-ended-qa", choices={"text": [], "label": []}, answerKey=""),
        original("true or false", type="true_or_false"),
    ]
    return [row for triple in zip(chemistry[:10], biology, others * 4, strict=False) for row in triple] + chemistry[10:]


@pytest.mark.parametrize("by", ["path", "hub"])
def test_the_hubs_schema_is_filtered_rendered_and_split_by_domain(tmp_path: Path, by: str) -> None:
    folder = hub_folder(tmp_path, hub_rows())
    split = sciknoweval.load(folder) if by == "path" else sciknoweval.load(None, hub=str(folder), subset="v2")
    assert Counter(p.kind for p in split.train) == {"chemistry": 27, "biology": 9}
    assert Counter(p.kind for p in split.test) == {"chemistry": 3, "biology": 1}
    problem = next(p for p in split.train + split.test if p.id == "sciknoweval/chemistry/12")
    assert problem.prompt == "c12\n\nA: one\nB: two\nC: three\nD: four\nPlease reason step by step."
    assert problem.answer == "C" and problem.data == {"choices": ("A", "B", "C", "D")}
    for wanted in ("<reasoning>", "</reasoning>", "<answer>LETTER</answer>", "A, B, C or D"):
        assert wanted in problem.system
    pair = next(p for p in split.train if p.kind == "biology")
    assert "A or B" in pair.system and "C:" not in pair.prompt
    assert sciknoweval.load(folder) == split


def test_seed_fraction_and_domains_of_the_hubs_schema(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, hub_rows())
    split = sciknoweval.load(folder, domains="chemistry", test_fraction=0.5)
    assert (len(split.train), len(split.test)) == (15, 15)
    other = sciknoweval.load(folder, domains="chemistry", test_fraction=0.5, seed=1)
    assert {p.id for p in other.test} != {p.id for p in split.test}
    with pytest.raises(ProblemError, match="no domain 'chemistri'") as caught:
        sciknoweval.load(folder, domains=["chemistri"])
    assert "chemistry" in caught.value.hint


def test_a_file_in_the_hubs_schema(write: Write) -> None:
    choices = [{"text": "one", "label": "A"}, {"text": "two", "label": "B"}]
    path = write("l3.jsonl", *[original(f"q{i}", choices=choices, answerKey="B") for i in range(10)])
    split = sciknoweval.load(path)
    assert (len(split.train), len(split.test)) == (9, 1)
    assert split.train[0].data == {"choices": ("A", "B")}


BAD_ORIGINAL = {
    "an integer instead of a JSON object": "3",
    "no 'domain'": original(domain=...),
    "'domain' is an integer instead of a string": original(domain=3),
    "no 'type'": original(type=...),
    "no 'details'": original(details=...),
    "'details' is not an object": original(details="L3"),
    "no 'level'": original(details={"task": "t"}),
    "no 'question'": original(question=...),
    "'question' is empty": original(""),
    "no 'choices'": original(choices=None),
    "'choices' is a string instead of {text: [...], label: [...]}": original(choices="A: one"),
    "'choices' has no list 'text' or no list 'label'": original(choices={"text": ["one"]}),
    "'choices' has 1 texts and 2 labels": original(choices={"text": ["one"], "label": ["A", "B"]}),
    "'choices' has 0 options": original(choices={"text": [], "label": []}),
    "'choices' has 1 option: nothing to choose from": original(choices={"text": ["one"], "label": ["C"]}),
    "the label '1' of an option is not a letter": original(choices={"text": ["a", "b"], "label": ["1", "2"]}),
    "the label None of an option is not a letter": original(choices={"text": ["a", "b"], "label": [None, "B"]}),
    "the text of option B is an integer": original(choices={"text": ["a", 2], "label": ["A", "B"]}),
    "the text of option B is empty": original(choices={"text": ["a", ""], "label": ["A", "B"]}),
    "'choices' holds a character that UTF-8 cannot": original(choices={"text": ["\udc00", "b"], "label": ["A", "B"]}),
    "two options have the same label": original(choices={"text": ["a", "b"], "label": ["A", "A"]}),
    "'answerKey' is null": original(answerKey=None),
    "'answerKey' is empty": original(answerKey=""),
    "'answerKey' is 'E', but the options are A, B, C, D": original(answerKey="E"),
    "'answerKey' is 'A, B' instead of the letter of an option": original(answerKey="A, B"),
}


@pytest.mark.parametrize("reason", BAD_ORIGINAL)
def test_a_row_in_the_hubs_schema_that_does_not_fit_is_named_with_its_reason(write: Write, reason: str) -> None:
    path = write("l3.jsonl", original("q0"), BAD_ORIGINAL[reason], original("q1"), original("q2"))
    with pytest.raises(ProblemError) as caught:
        sciknoweval.load(path)
    assert f"{path}:2: {reason}" in caught.value.message


def test_a_bad_row_that_is_left_out_does_not_shift_the_ids_after_it(write: Write) -> None:
    path = write("l3.jsonl", original("q0"), original(answerKey=""), original("q2"), original("q3"))
    split = sciknoweval.load(path, max_bad_fraction=0.25, test_fraction=0)
    assert [p.id[-1] for p in split.train] == ["0", "2", "3"] and len(split.skipped) == 1


def test_no_level_3_question(write: Write) -> None:
    path = write("l1.jsonl", original(details={"level": "L1"}))
    with pytest.raises(ProblemError, match=r"None of the 1 rows .* is a level-3 multiple-choice question"):
        sciknoweval.load(path)


# folders that are not what they should be


def test_folders_that_cannot_be_used(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ProblemError, match="holds no rows"):
        sciknoweval.load(tmp_path)
    write("chemistry/train.jsonl", prepared())
    with pytest.raises(ProblemError, match=r"chemistry has no test\.jsonl"):
        sciknoweval.load(tmp_path)
    with pytest.raises(ProblemError, match="has no domain 'physics'") as caught:
        sciknoweval.load(tmp_path, domains=["physics"])
    assert "chemistry" in caught.value.hint
    with pytest.raises(ProblemError, match="There is no") as caught:
        sciknoweval.load(tmp_path / "chemstry")
    assert str(tmp_path / "chemistry") in caught.value.hint
    with pytest.raises(ProblemError, match="max_bad_fraction is 1"):
        sciknoweval.load(tmp_path, max_bad_fraction=1)


def test_a_hub_that_cannot_be_reached() -> None:
    with pytest.raises(ProblemError, match=r"nobody/SciKnowEval \[test\] cannot be loaded"):
        sciknoweval.load(None, hub="nobody/SciKnowEval")
