"""pmd memory show --prompt: the messages that a memory was made from, and what the model answered, as they were sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.types import TIERS, Experience

if TYPE_CHECKING:
    from pmd_agent.memory import Entry, Memory
    from pmd_agent.runs.folder import RunDir
    from pmd_agent.runs.program_trace import ProgramTrace


class Prompts:
    """Of a run's memories."""

    def __init__(self, directory: RunDir, memory: Memory) -> None:
        from pmd_agent.memory.bank import BEFORE

        bank = memory.noted("bank")
        self._directory = directory
        self._elsewhere = f"in the run that the bank {bank['name']} came from" if bank else ""
        self._imported = {e.id for tier in TIERS[1:] for e in memory.imported(tier, step=BEFORE)} if bank else set()

    def where(self, entry: Entry) -> dict[str, object]:
        """In which file an entry's prompt is; nothing for an attempt, whose prompt is its problem."""
        if isinstance(entry, Experience):
            return {}
        if entry.id in self._imported:
            return {"prompt": self._elsewhere}
        file = self._file(entry.id)
        return {"prompt in": file} if file is not None and (self._directory.path / file).is_file() else {}

    def lines(self, entry: Entry, entry_id: str) -> Iterator[str]:
        """The whole of it. `entry_id` may be one that was merged into the entry."""
        from pmd_agent.runs.program_trace import find

        yield ""
        if isinstance(entry, Experience):
            yield from self._attempt(entry)
            return
        if entry_id in self._imported:
            yield f"Its prompt is {self._elsewhere}."
        elif (trace := find(self._directory.path, entry_id)) is None:
            yield f"Its prompt is not kept: {self._file(entry_id) or self._directory.path} has none."
        else:
            yield from _calls(trace)
        for again in entry.merged if entry_id == entry.id else ():
            yield f"said again as {again}: `pmd memory show {self._directory.path} {again} --prompt`"

    def _file(self, entry_id: str) -> Path | None:
        """Relative to the run's folder."""
        from pmd_agent.runs.program_trace import file_of

        path = file_of(self._directory.path, entry_id)
        return path.relative_to(self._directory.path) if path is not None else None

    def _attempt(self, entry: Experience) -> Iterator[str]:
        """An attempt is made from the plain prompt of its problem."""
        from pmd_agent.assembly.problems import problems_of
        from pmd_agent.distillation.teacher_page import student_messages
        from pmd_agent.errors import PMDError

        try:
            sets = problems_of(self._directory)
        except PMDError as error:
            yield f"It was made from its problem alone, and the run's problems cannot be read: {error.message}"
            return
        problems = [p for p in (*sets.train, *sets.validation, *sets.test) if p.id == entry.problem_id]
        if not problems:
            yield f"It was made from its problem alone, and {entry.problem_id} is not among the run's."
            return
        for message in student_messages(problems[0]):
            yield from _said(message["role"], message["content"])
        yield from _said("answer", entry.text)


def _calls(trace: ProgramTrace) -> Iterator[str]:
    if not trace.calls:
        yield f"{trace.program} wrote it, and asked no language model."
    if trace.left_out:
        yield f"{trace.left_out} earlier calls are not kept."
    for number, call in enumerate(trace.calls, 1):
        yield f"call {number} of {len(trace.calls)} · {call.model}"
        for message in call.messages:
            yield from _said(message.role, message.text)
        for answer in call.answers:
            yield from _said("answer", answer)
        if call.error:
            yield from _said("error", call.error)


def _said(role: str, text: str) -> Iterator[str]:
    yield f"--- {role}"
    yield from text.split("\n")
