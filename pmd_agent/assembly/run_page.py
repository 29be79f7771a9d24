"""A run's page (reports/run_page), with what it takes to read the run's memory and its problems."""

from __future__ import annotations

from collections.abc import Callable

from pmd_agent.assembly.memory import read_memory
from pmd_agent.assembly.run_memory import known_problems
from pmd_agent.reports.run_page.source import Source
from pmd_agent.runs.folder import RunDir


def source_of(run: RunDir, warn: Callable[[str], None]) -> Source:
    """What the page of a run is made of. `warn` hears why texts of problems are not known."""
    return Source(run, lambda run: read_memory(run, all_tiers=True), lambda run: known_problems(run, warn))
