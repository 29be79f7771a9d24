"""What memory holds for a problem: recall."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_agent.memory import Recalled, Wanted
from pmd_agent.memory import recall as recall_contexts
from pmd_agent.recipe import Recipe
from pmd_agent.stages.parts import Metrics, Parts, seed_for, stage
from pmd_agent.types import Experience, Problem, TeacherContext


@stage
def recall(
    parts: Parts, m: Metrics, problems_P: Sequence[Problem], experiences_PG: Sequence[Sequence[Experience]]
) -> list[Recalled]:
    """What the teacher reads beside each problem: its own experience and insights, behaviors by retrieval, siblings."""
    return recall_contexts(parts.memory, problems_P, experiences_PG, wanted(parts.recipe, m.step))


def contexts_for(
    parts: Parts, problems_P: Sequence[Problem], experiences_PG: Sequence[Sequence[Experience]]
) -> list[TeacherContext]:
    found = recall_contexts(parts.memory, problems_P, experiences_PG, wanted(parts.recipe))
    return [each.context for each in found]


def wanted(recipe: Recipe, step: int = 0) -> Wanted:
    """What the recipe says of recall."""
    settings = recipe.memory
    return Wanted(
        behaviors=settings.behaviors,
        strategies=settings.strategies,
        lessons=settings.lessons,
        siblings=settings.siblings,
        feedback=settings.feedback,
        diversity=settings.diversity,
        mode=settings.recall,
        seed=seed_for(recipe, step, 4),
    )
