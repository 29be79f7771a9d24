"""Environments of the package verifiers, by name, in an interpreter of their own.

worker.py     runs there, with verifiers and without pmd: plays rollouts and asks for each reply
bridge.py     starts it and speaks to it, a JSON object a line
rows.py       its problems
episode.py    an attempt at one, as an environment of pmd's
"""

from pmd_agent.problems.verifiers_package.episode import VerifiersEpisode
from pmd_agent.problems.verifiers_package.rows import load

__all__ = ["VerifiersEpisode", "load"]
