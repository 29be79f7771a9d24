"""Everything a terminal shows, and the only package that prints."""

from pmd_agent.console.terminal import Console
from pmd_agent.console.words import duration, percent

__all__ = ["Console", "duration", "percent"]
