"""SciKnowEval, level-3 multiple choice: as SDPO prepared it (folders with train and test), or as it is on the hub.

Both give the same ids, `sciknoweval/<domain>/<idx>` with idx the question's position among the level-3 multiple-choice
questions of its domain, and, with the defaults, the same test questions: SDPO's split of a domain is
`train_test_split(0.1, seed=42)`, which `hold_out` repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.choices import labelled_options, letter_answer, letters_in
from pmd_agent.problems.parse_rows import BadRow, Gatherer, optional_text_of, text_of
from pmd_agent.problems.sources import SUFFIXES, Row, describe_type, load_hub, nearest, placed, read
from pmd_agent.problems.split import Split, hold_out
from pmd_agent.problems.train_test import split_file
from pmd_agent.types import Problem

HUB = "hicai-zju/SciKnowEval"
LEVEL = "L3"
TYPES = ("mcq-4-choices", "mcq-2-choices")


def load(
    path: Path | None,
    *,
    hub: str = HUB,
    subset: str | None = None,
    domains: Sequence[str] = (),
    test_fraction: float = 0.1,
    seed: int = 42,
    max_bad_fraction: float = 0.0,
) -> Split:
    """The problems of the given domains (none given: all there are), kind = domain.

    `path` may be: a folder with train.jsonl and test.jsonl (its name is the domain); a folder of such folders; a file
    of rows in the hub's schema; a folder of the hub's shape; or None, to load `hub` (and its `subset`) from the hub.
    `test_fraction` and `seed` are for the hub's schema only: prepared folders bring their own split.
    ProblemError for anything missing, and for more than `max_bad_fraction` of the rows not fitting.
    """
    wanted = [domains] if isinstance(domains, str) else domains
    if path is None:
        rows = _hub_rows(hub, subset)
        return _from_hub(hub, rows, wanted, test_fraction, seed, max_bad_fraction)
    path = Path(path).expanduser()
    if not path.is_dir():
        return _from_hub(str(path), read(path), wanted, test_fraction, seed, max_bad_fraction)
    folders = _domain_folders(path)
    if folders:
        return _from_folders(path, folders, wanted, max_bad_fraction)
    if not any(file.suffix in SUFFIXES for file in path.rglob("*")):
        raise ProblemError(
            f"{path} holds no rows.",
            "Give a folder with train.jsonl and test.jsonl, a folder of such folders, or one of the hub's shape.",
        )
    return _from_hub(str(path), _hub_rows(str(path), subset), wanted, test_fraction, seed, max_bad_fraction)


def system_message(letters: Sequence[str]) -> str:
    """Asks for the answer's format; for rows that bring no system message of their own."""
    listed = f"{', '.join(letters[:-1])} or {letters[-1]}" if len(letters) > 1 else "a capital letter"
    return (
        "You will be given a science question and its options. Exactly one option is right.\n"
        "Write down how you work it out between <reasoning> and </reasoning>. Then close with the letter of your "
        f"option ({listed}), alone, between <answer> and </answer>:\n"
        "<reasoning>your working</reasoning>\n"
        "<answer>LETTER</answer>"
    )


def render(question: str, options: Mapping[str, str]) -> str:
    """The student's prompt for a question in the hub's schema, laid out as in SDPO's prepared rows."""
    lines = "\n".join(f"{letter}: {text}" for letter, text in options.items())
    return f"{question}\n\n{lines}\nPlease reason step by step."


def _from_folders(root: Path, folders: Mapping[str, Path], wanted: Sequence[str], max_bad_fraction: float) -> Split:
    gatherer = Gatherer(str(root), max_bad_fraction)
    train: list[Problem] = []
    test: list[Problem] = []
    for domain in _chosen(wanted, list(folders), str(root)):
        for part, problems in (("train", train), ("test", test)):
            file = split_file(folders[domain], part)
            if file is None:
                raise ProblemError(f"{folders[domain]} has no {part}.jsonl.", "It must hold train and test.")
            problems += gatherer.gather(read(file), partial(_prepared, domain=domain))
    skipped = gatherer.finish()
    return Split(tuple(train), tuple(test), skipped)


def _from_hub(
    source: str,
    rows: Sequence[Row],
    wanted: Sequence[str],
    test_fraction: float,
    seed: int,
    max_bad_fraction: float,
) -> Split:
    gatherer = Gatherer(source, max_bad_fraction)
    values = [row.value for row in rows if isinstance(row.value, dict)]
    labels = {value["domain"].lower() for value in values if isinstance(value.get("domain"), str)}
    chosen = _chosen(wanted, sorted(labels), source)
    counts: dict[str, int] = {}

    def build(row: Mapping[str, Any], number: int) -> Problem:
        _check_labels(row)
        domain = row["domain"].lower()
        # Counted before the row is judged: a bad row must not shift the ids of those after it.
        counts[domain] = counts.get(domain, -1) + 1
        return _original(row, domain, counts[domain])

    problems = gatherer.gather((row for row in rows if _asked_for(row, chosen)), build)
    if not gatherer.total:
        raise ProblemError(
            f"None of the {len(rows)} rows of {source} is a level-3 multiple-choice question.",
            f"Wanted: details.level {LEVEL}, type {' or '.join(TYPES)}.",
        )
    skipped = gatherer.finish()
    train, test = hold_out(problems, test_fraction, seed)
    return Split(train, test, skipped)


def _prepared(row: Mapping[str, Any], number: int, *, domain: str) -> Problem:
    """A row of an SDPO-prepared folder: idx, prompt, system, answer, kind."""
    index = row.get("idx")
    if isinstance(index, bool) or not isinstance(index, int | str) or index == "":
        raise BadRow(
            "no 'idx'" if index is None else f"'idx' is {describe_type(index)} instead of an integer or a string"
        )
    kind = optional_text_of(row, "kind", "mcq")
    if kind != "mcq":
        raise BadRow(f"'kind' is {kind!r}: not multiple choice")
    prompt = text_of(row, "prompt")
    letters = letters_in(prompt)
    return Problem(
        id=f"sciknoweval/{domain}/{index}",
        prompt=prompt,
        answer=letter_answer(text_of(row, "answer"), letters),
        system=optional_text_of(row, "system").strip() or system_message(letters),
        kind=domain,
        data={"choices": letters} if letters else {},
    )


def _original(row: Mapping[str, Any], domain: str, index: int) -> Problem:
    """A row in the hub's schema that `_asked_for` let through."""
    question = text_of(row, "question")
    if row.get("choices") is None:
        raise BadRow("no 'choices'")
    options = labelled_options(row["choices"])
    letters = tuple(options)
    return Problem(
        id=f"sciknoweval/{domain}/{index}",
        prompt=render(question, options),
        answer=letter_answer(text_of(row, "answerKey"), letters, "answerKey"),
        system=system_message(letters),
        kind=domain,
        data={"choices": letters},
    )


def _asked_for(row: Row, domains: Sequence[str]) -> bool:
    """A level-3 multiple-choice question of a wanted domain; also what cannot be told, to be reported as bad."""
    try:
        _check_labels(row.value)
    except BadRow:
        return True
    value = row.value
    return value["details"]["level"] == LEVEL and value["type"] in TYPES and value["domain"].lower() in domains


def _check_labels(row: Any) -> None:
    """BadRow where the row does not say what `_asked_for` asks of it."""
    if not isinstance(row, Mapping):
        raise BadRow(f"{describe_type(row)} instead of a JSON object")
    text_of(row, "domain")
    text_of(row, "type")
    if not isinstance(row.get("details"), Mapping):
        raise BadRow("no 'details'" if row.get("details") is None else "'details' is not an object")
    text_of(row["details"], "level")


def _hub_rows(name: str, subset: str | None) -> list[Row]:
    # The hub has one split, called test; how it is divided is up to whoever trains on it.
    return placed(name, load_hub(name, subset=subset, split="test"))


def _domain_folders(path: Path) -> dict[str, Path]:
    """domain -> folder with a train or test file; empty where the folder is not laid out as SDPO does."""
    folders = [path] if split_file(path, "train") else sorted(folder for folder in path.iterdir() if folder.is_dir())
    return {folder.resolve().name.lower(): folder for folder in folders if split_file(folder, "train")}


def _chosen(wanted: Sequence[str], known: list[str], source: str) -> list[str]:
    if not wanted:
        return known
    for name in wanted:
        if name.lower() not in known:
            raise ProblemError(f"{source} has no domain {name!r}.", nearest(name, known))
    return list(dict.fromkeys(name.lower() for name in wanted))
