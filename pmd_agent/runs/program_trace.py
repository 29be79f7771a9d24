"""What the programs were asked, and what they said: how each memory came about, in the words that were sent.

A run keeps it beside its rollouts, a file a step: programs/step-000012.jsonl has a line for each run of a program, under
the lines of those texts that occur in it more than once, such as instructions. It is written and taken back with its step.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd_agent.runs.read_lines import read_lines
from pmd_agent.text import cut

FOLDER = "programs"
MOST_CHARS = 100_000
"""Of a text; the middle of a longer one is left out."""
MOST_CALLS = 32
"""Of one run of a program: the last ones, which its answer was made from."""
_STEP = re.compile(r"(?:g\d+/)?(\d+)/")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of what a language model was sent."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a language model."""

    model: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...] = ()
    """As they came, before anything was parsed; several where several were asked for."""
    error: str = ""
    """What came instead."""


@dataclass(frozen=True, slots=True)
class ProgramTrace:
    """One run of a program."""

    about: str
    """The problem that was reflected on, or the cluster that was generalised."""
    program: str
    """As the memories name it."""
    calls: tuple[Call, ...]
    """In the order in which they were sent."""
    wrote: tuple[str, ...] = ()
    """Ids of the memories that came of it: none where it did not parse."""
    texts: tuple[str, ...] = ()
    """What these memories said when they were written. Runs of earlier releases have none."""
    left_out: int = 0
    """Calls before these."""


def bounded(about: str, program: str, calls: Sequence[Call], wrote: Mapping[str, str] | None = None) -> ProgramTrace:
    """A record of bounded size, whatever the program did. `wrote`: ids of memories, and their texts."""
    wrote = wrote or {}
    kept = tuple(_bounded(call) for call in calls[-MOST_CALLS:])
    return ProgramTrace(about, program, kept, tuple(wrote), tuple(wrote.values()), max(0, len(calls) - MOST_CALLS))


def _bounded(call: Call) -> Call:
    messages = tuple(Message(m.role, cut(m.text, MOST_CHARS)) for m in call.messages)
    return Call(call.model, messages, tuple(cut(a, MOST_CHARS) for a in call.answers), cut(call.error, MOST_CHARS))


def pack(traces: Sequence[ProgramTrace]) -> list[dict[str, Any]]:
    """A step's lines. A text that is sent more than once stands in a line of its own, and is named by its hash."""
    times = Counter(m.text for each in traces for call in each.calls for m in call.messages)
    names = {text: _name(text) for text, count in times.items() if count > 1}

    def message(m: Message) -> dict[str, str]:
        return {"role": m.role} | ({"same": names[m.text]} if m.text in names else {"text": m.text})

    def call(c: Call) -> dict[str, Any]:
        plain = {"model": c.model, "messages": [message(m) for m in c.messages], "answers": list(c.answers)}
        return plain | ({"error": c.error} if c.error else {})

    shared = [{"same": name, "text": text} for text, name in names.items()]
    runs = [
        {
            "about": each.about,
            "program": each.program,
            "wrote": list(each.wrote),
            "texts": list(each.texts),
            "calls": [call(c) for c in each.calls],
        }
        | ({"left_out": each.left_out} if each.left_out else {})
        for each in traces
    ]
    return shared + runs


def unpack(lines: Iterable[Mapping[str, Any]]) -> Iterator[ProgramTrace]:
    """The inverse of `pack`. KeyError where a text is missing."""
    shared: dict[str, str] = {}
    for line in lines:
        if "same" in line:
            shared[line["same"]] = line["text"]
            continue
        calls = tuple(
            Call(
                call["model"],
                tuple(Message(m["role"], shared[m["same"]] if "same" in m else m["text"]) for m in call["messages"]),
                tuple(call["answers"]),
                call.get("error", ""),
            )
            for call in line["calls"]
        )
        wrote, texts = tuple(line["wrote"]), tuple(line.get("texts", ()))
        yield ProgramTrace(line["about"], line["program"], calls, wrote, texts, line.get("left_out", 0))


def find(run: Path, entry_id: str) -> ProgramTrace | None:
    """The run of a program that wrote a memory; None where the run's folder does not have it."""
    path = file_of(run, entry_id)
    if path is None or not path.is_file():
        return None
    return next((each for each in unpack(read_lines(path)) if entry_id in each.wrote), None)


def file_of(run: Path, entry_id: str) -> Path | None:
    """Where the step that made the id has its programs; None for an id that names no step."""
    step = _STEP.match(entry_id)
    return run / FOLDER / f"step-{int(step[1]):06d}.jsonl" if step else None


def _name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
