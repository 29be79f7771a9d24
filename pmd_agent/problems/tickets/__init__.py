"""A made-up ticket system: six calls, and quirks that no document states.

quirks.py   how this system differs from its documentation: drawn by seed, with drift
desk.py     the system: it is called, and answers
tasks.py    what is to be done: the problems
episode.py  one attempt: calls read from replies, goals checked at the end
"""

from pmd_agent.problems.tickets.episode import TicketEpisode
from pmd_agent.problems.tickets.tasks import load

__all__ = ["TicketEpisode", "load"]
