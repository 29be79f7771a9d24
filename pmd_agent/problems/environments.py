"""From a recipe's section `problems` to the environment of each attempt, where attempts are episodes."""

from __future__ import annotations

from pmd_agent.environment import Environments, environments_from, import_environments
from pmd_agent.errors import RecipeError
from pmd_agent.problems.tickets import TicketEpisode
from pmd_agent.problems.verifiers_package import VerifiersEpisode
from pmd_agent.problems.verifiers_package.rows import bridge_of
from pmd_agent.problems.world_episode import WorldEpisode
from pmd_agent.recipe.problems import Problems
from pmd_agent.recipe.worlds import TicketProblems, VerifiersProblems, WorldProblems

GIVEN = "given:"
"""Leads the name of an environment that was given as an object, and that no other process can import."""


def environments_of(section: Problems) -> Environments | None:
    """None where attempts are single answers. Raises RecipeError."""
    if isinstance(section, WorldProblems):
        return environments_from(WorldEpisode, "world") if section.episodes else None
    if isinstance(section, TicketProblems):
        return environments_from(TicketEpisode, "tickets")
    if isinstance(section, VerifiersProblems):
        bridge, best = bridge_of(section), section.best_reward
        return lambda problem: VerifiersEpisode(bridge, best)
    name: str | None = getattr(section, "environment", None)
    if name is None:
        return None
    if name.startswith(GIVEN):
        raise RecipeError(
            f"The environment {name.removeprefix(GIVEN)} was given as an object, and cannot be imported by its name.",
            "Give it again: pmd_agent.Run.open(RUN, environment=...); a class in a module of its own is found by itself.",
        )
    return import_environments(name)
