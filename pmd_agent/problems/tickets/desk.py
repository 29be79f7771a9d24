"""The ticket system: six calls that answer `ok` and what was asked for, or an error's number and nothing that explains it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pmd_agent.problems.tickets.quirks import Quirks

DOCUMENTATION = """\
open {"customer": name, "subject": text, "priority": 1 to 5}    a new ticket; answers its number
show {"ticket": number}                                         what is in it
assign {"ticket": number, "team": name}                         hands it to a team
log {"ticket": number, "time": number}                          time spent on it
note {"ticket": number, "text": text}                           a note for the customer
close {"ticket": number}                                        it is done"""
"""What the policy reads. It is true, and not the whole truth."""
TEAMS = ("network", "billing", "printers", "accounts")
CHANNELS = ("phone", "mail", "counter")
MOST_TICKETS = 100


class Refused(Exception):
    """The system says no: one of the faults that quirks.py names."""


@dataclass(slots=True)
class Ticket:
    """What the system knows of one."""

    customer: str
    subject: str
    channel: str
    urgency: str
    team: str = ""
    minutes: float = 0.0
    notes: list[str] = field(default_factory=list)
    closed: bool = False
    seen: set[str] = field(default_factory=set)
    """Calls that it has had."""


class Desk:
    """One system with its tickets, empty at first."""

    def __init__(self, quirks: Quirks) -> None:
        self.quirks = quirks
        self.tickets: dict[int, Ticket] = {}

    def call(self, name: str, arguments: Any) -> str:
        """The answer to one call, whatever is given."""
        try:
            return f"ok: {self._call(name, arguments)}"
        except Refused as fault:
            return f"error {self.quirks.codes[str(fault)]}"

    def _call(self, name: str, arguments: Any) -> str:
        known = {"open": self._open, "show": self._show, "assign": self._assign, "log": self._log}
        known |= {"note": self._note, "close": self._close}
        if name not in known:
            raise Refused("unknown call")
        if not isinstance(arguments, dict):
            raise Refused("no arguments")
        if name == "open":
            return self._open(arguments)
        number = arguments.get("ticket")
        ticket = self.tickets.get(number) if isinstance(number, int) else None
        if ticket is None:
            raise Refused("no such ticket")
        if ticket.closed and name != "show":
            raise Refused("closed")
        said = known[name](arguments | {"ticket": ticket})
        ticket.seen.add(name)
        return said

    def _open(self, given: dict[str, Any]) -> str:
        customer, subject = _text(given, "customer"), _text(given, "subject")
        channel, priority = _text(given, self.quirks.channel_field), given.get("priority")
        if channel not in CHANNELS or type(priority) is not int or not 1 <= priority <= 5:
            raise Refused("bad value")
        if len(self.tickets) >= MOST_TICKETS:
            raise Refused("wrong order")
        number = 4000 + 7 * len(self.tickets)
        self.tickets[number] = Ticket(customer, subject, channel, self.quirks.urgency(priority))
        return f"ticket {number}"

    def _show(self, given: dict[str, Any]) -> str:
        t: Ticket = given["ticket"]
        team, notes = t.team or "nobody", " / ".join(t.notes) or "none"
        return (
            f"{t.customer}, by {t.channel}: {t.subject}; {t.urgency}; {team}; {t.minutes:g} min; notes: {notes}; "
            f"{'closed' if t.closed else 'open'}"
        )

    def _assign(self, given: dict[str, Any]) -> str:
        ticket, team = given["ticket"], _text(given, "team")
        if self.quirks.before_assign not in ticket.seen:
            raise Refused("wrong order")
        found = next((t for t in TEAMS if self.quirks.spelt(t) == team), None)
        if found is None:
            raise Refused("bad value")
        ticket.team = found
        return "assigned"

    def _log(self, given: dict[str, Any]) -> str:
        time = given.get("time")
        if isinstance(time, bool) or not isinstance(time, int | float) or not 0 < time < 1e6:
            raise Refused("bad value")
        given["ticket"].minutes += time * self.quirks.minutes_a_unit
        return "logged"

    def _note(self, given: dict[str, Any]) -> str:
        given["ticket"].notes.append(_text(given, "text")[:200])
        return "noted"

    def _close(self, given: dict[str, Any]) -> str:
        if self.quirks.before_close not in given["ticket"].seen:
            raise Refused("wrong order")
        given["ticket"].closed = True
        return "closed"


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None:
        raise Refused("field missing")
    if not isinstance(value, str) or not value.strip():
        raise Refused("bad value")
    return value.strip()
