"""pmd chat: the base and the adapter answer from one set of weights, each in its own conversation."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from pmd_agent.assembly.conversations import Conversations
from pmd_agent.assembly.run_policy import RunPolicy
from pmd_agent.cli import app
from pmd_agent.console import Console
from pmd_agent.console.columns import beside
from pmd_agent.errors import RunError
from pmd_agent.recipe import parse_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Sampling

TEXT, NEXT = "In the mill, compute 37 zog 14.", "And 3 vit 9?"


@pytest.fixture
def run(run_with_adapter: Callable[..., RunDir], tiny_folder: Path) -> RunDir:
    return run_with_adapter(str(tiny_folder), dtype="float32")


def quiet() -> Console:
    return Console(io.StringIO(), io.StringIO())


def pmd(*arguments: str, given: str | None = None) -> str:
    done = CliRunner().invoke(app, ["chat", *arguments], input=given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_each_answers_as_if_it_were_alone(run: RunDir) -> None:
    sampling = Sampling(0.0, 1.0, 8, 0)
    with RunPolicy(run, console=quiet()) as policy:
        talk = Conversations(policy, sampling, system="")
        first, second = talk.say(TEXT), talk.say(NEXT)
    assert first["base"].text != first["adapter"].text
    for name, adapter in (("base", False), ("adapter", True)):
        with RunPolicy(run, adapter=adapter, console=quiet()) as alone:
            turns: list[dict[str, str]] = []
            for text, reply in ((TEXT, first[name]), (NEXT, second[name])):
                turns.append({"role": "user", "content": text})
                assert reply.text == alone.chat(turns, temperature=0, max_tokens=8)
                turns.append({"role": "assistant", "content": reply.text})


def test_after_forgetting_the_first_words_get_the_first_answers(run: RunDir) -> None:
    with RunPolicy(run, console=quiet()) as policy:
        talk = Conversations(policy, Sampling(0.0, 1.0, 8, 0), system="")
        first = talk.say(TEXT)
        assert talk.say(TEXT)["adapter"].prompt_ids != first["adapter"].prompt_ids
        talk.forget()
        assert talk.say(TEXT) == first


def test_a_conversation_that_is_too_long_is_one_sentence_and_stays_as_it_was(run: RunDir) -> None:
    with RunPolicy(run, console=quiet()) as policy:
        talk = Conversations(policy, Sampling(0.0, 1.0, 4, 0), system="")
        talk.say(TEXT)
        before = dict(talk.said)
        with pytest.raises(RunError, match=r"The conversation has \d+ tokens"):
            talk.say("zog " * policy.context)
        assert talk.said == before


def test_turns_on_the_command_line_and_in_a_pipe(run: RunDir) -> None:
    few = ("--max-tokens", "4", "--temperature", "0", "--system", "", "--json")
    options = pmd(str(run.path), "--once", TEXT, "--once", NEXT, *few)
    turns = [json.loads(line) for line in options.splitlines()]
    assert [list(turn) for turn in turns] == [["prompt", "base", "adapter"]] * 2
    assert [turn["prompt"] for turn in turns] == [TEXT, NEXT]
    assert pmd(str(run.path), *few, given=f"{TEXT}\n\n{NEXT}\n") == options, "an empty line is no turn, and no end"
    anew = pmd(str(run.path), *few, given=f"{TEXT}\n/new\n{TEXT}\n/quit\n{NEXT}\n").splitlines()
    assert anew[0] == anew[1] == options.splitlines()[0] and len(anew) == 2


def test_lines_without_a_terminal(run: RunDir) -> None:
    shown = pmd(str(run.path), "--once", TEXT, "--max-tokens", "2", "--system", "").splitlines()
    assert [line for line in shown if line in ("base:", "adapter:")] == ["base:", "adapter:"]
    assert shown.count("[cut after 2 tokens]") == 2


def test_a_test_problem_is_asked_as_the_run_asks_it(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "name": "one",
        "runs": str(tmp_path),
        "problems": {"type": "world", "train": 2, "test": 1, "validation": 0},
        "policy": {"type": "scripted", "answers": ["4"]},
    }
    run = RunDir.create(parse_recipe(recipe))
    (row,) = map(json.loads, pmd(str(run.path), "--json", given="/problem\n").splitlines())
    assert row["base"] == "4" and "adapter" not in row, "a run without weights has learnt nothing"
    assert row["answer"].isdigit() and "compute" in row["prompt"]


def test_a_run_without_an_adapter_says_so(run: RunDir) -> None:
    (run.adapter_path / "adapter_config.json").unlink()
    with pytest.raises(RunError, match="has no adapter yet"):
        pmd(str(run.path), "--once", TEXT)


def test_columns_beside_each_other_lose_nothing_but_spaces() -> None:
    texts = {"base": "def f(x):\n    return x\n" + "word " * 30, "adapter": "東京" * 30 + "\x1b[2J"}
    for width in (72, 80, 121):
        lines = list(beside(texts, width))
        assert max(map(cell_len, lines)) <= width
        left, right = zip(*(line.partition("│")[::2] for line in lines), strict=True)
        assert "    return x" in [cell.rstrip() for cell in left]
        assert "".join("".join(left).split()).endswith("word" * 30)
        assert "".join("".join(right).split()).endswith("東京" * 30 + "\\x1b[2J")


def test_what_is_typed_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Keyboard())
    answers = iter(["a line"])

    def typed(prompt: str) -> str:
        if (line := next(answers, None)) is None:
            raise EOFError
        return line

    monkeypatch.setattr("builtins.input", typed)
    console = quiet()
    assert console.asks and console.ask("you> ") == "a line" and console.ask("you> ") is None
