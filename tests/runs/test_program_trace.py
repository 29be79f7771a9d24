"""What the programs were asked: packed, bounded, found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pmd_agent.runs.files import to_lines
from pmd_agent.runs.program_trace import (
    MOST_CALLS,
    MOST_CHARS,
    Call,
    Message,
    ProgramTrace,
    bounded,
    file_of,
    find,
    pack,
    unpack,
)

INSTRUCTIONS = Message("system", "Compare the attempts.")


def asked(number: int, *, wrote: tuple[str, ...] = ()) -> ProgramTrace:
    call = Call("local/box@3", (INSTRUCTIONS, Message("user", f"attempts at {number} \ud800")), ('{"lessons": []}',))
    return ProgramTrace(f"p{number}", "pkg:Reflector#1 by box", (call,), wrote)


def test_packed_and_unpacked_it_is_the_same() -> None:
    failed = Call("other/model", (Message("user", "again"),), error="LMError: gone")
    each = [
        asked(0, wrote=("3/p0/strategy/0",)),
        asked(1),
        ProgramTrace("c", "q", (*asked(2).calls, failed), ("3/b",), ("A rule.",), 5),
    ]
    lines = [json.loads(line) for line in to_lines(pack(each)).splitlines()]
    assert list(unpack(lines)) == each


def test_what_is_sent_again_and_again_is_stored_once() -> None:
    lines = pack([asked(n) for n in range(20)])
    assert [line["text"] for line in lines if "same" in line] == [INSTRUCTIONS.text]
    assert json.dumps(lines).count(INSTRUCTIONS.text) == 1
    assert "same" not in pack([asked(0)])[0], "what is sent once stands where it is read"


def test_no_program_makes_the_record_large() -> None:
    long = Call("m", (Message("user", "head" + "x" * 3 * MOST_CHARS + "tail"),), ("y" * 2 * MOST_CHARS,))
    found = bounded("p", "program", [*[asked(n).calls[0] for n in range(40)], long])
    assert len(found.calls) == MOST_CALLS and found.left_out == 41 - MOST_CALLS
    (message,), (answer,) = found.calls[-1].messages, found.calls[-1].answers
    assert message.text.startswith("head") and message.text.endswith("tail")
    assert len(message.text) < 1.01 * MOST_CHARS and len(answer) < 1.01 * MOST_CHARS
    assert asked(0) == bounded("p0", "pkg:Reflector#1 by box", asked(0).calls), "what is short stays exact"


@pytest.mark.parametrize("wanted", ["12/a/b/strategy/0", "g3/12/a/b/strategy/0", "12/behavior_x"])
def test_a_memory_finds_its_prompt_by_its_step(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "step-000012.jsonl").write_bytes(to_lines(pack([asked(0), asked(1, wrote=(wanted,))])))
    assert find(tmp_path, wanted) == asked(1, wrote=(wanted,))
    assert find(tmp_path, "12/nobody") is None and find(tmp_path, "13/a/b/strategy/0") is None


def test_an_id_without_a_step_has_no_prompt(tmp_path: Path) -> None:
    assert file_of(tmp_path, "mine") is None and find(tmp_path, "mine") is None
