"""One attempt at the desk: a call is read from each reply, and the tickets are compared with what was to be done."""

from __future__ import annotations

import json
import re
from typing import Any

from pmd_agent.problems.tickets.desk import Desk, Ticket
from pmd_agent.problems.tickets.quirks import Quirks
from pmd_agent.text import strip_thinking
from pmd_agent.types import Problem

_CALL = re.compile(r"^\W{0,8}call\s+(\w{1,20})\s*(\{.*)?", re.IGNORECASE | re.MULTILINE)
_DONE = re.compile(r"^\W*done\W*$", re.IGNORECASE | re.MULTILINE)
NO_CALL = "There was no call. Write one on a line of its own, or say: done"


class TicketEpisode:
    """The reward is the share of the goals that a ticket meets at the end, the best one; 1: all is as it should be."""

    feedback = ""

    def start(self, problem: Problem) -> None:
        """The problem's own messages."""
        self._goals: dict[str, Any] = problem.data["goals"]
        self._desk = Desk(Quirks.of(problem.data["quirks"]))

    def act(self, reply: str) -> str | None:
        """What the system answers to the first call; None once the policy says that it is done."""
        said = strip_thinking(reply)
        call = _CALL.search(said)
        if call is not None:
            return self._desk.call(call[1].lower(), _arguments(call[2] or ""))
        if _DONE.search(said):
            self.feedback = self._left()
            return None
        return NO_CALL

    @property
    def reward(self) -> float:
        """Also before the end: an episode may be cut."""
        return max((sum(self._met(t).values()) / len(self._goals) for t in self._desk.tickets.values()), default=0.0)

    def close(self) -> None:
        """Nothing is held."""

    def _met(self, ticket: Ticket) -> dict[str, bool]:
        """Of each goal, whether this ticket meets it."""
        return {
            name: any(value in note for note in ticket.notes) if name == "note" else getattr(ticket, name) == value
            for name, value in self._goals.items()
        }

    def _left(self) -> str:
        """What is not as it should be, in words that give no quirk away."""
        if not self._desk.tickets:
            return "No ticket was opened."
        best = max(self._desk.tickets.values(), key=lambda t: sum(self._met(t).values()))
        wrong = [name for name, met in self._met(best).items() if not met]
        return f"Of the ticket this is not as asked: {', '.join(wrong)}." if wrong else ""


def _arguments(text: str) -> Any:
    """The JSON object at the beginning of a text, whatever follows; None where there is none."""
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None
