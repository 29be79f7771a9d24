"""Memory -> what the teacher reads beside each problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pmd_agent.types import Experience, Problem, TeacherContext

if TYPE_CHECKING:
    from pmd_agent.memory.store import Memory


def recall(
    memory: Memory,
    problems_P: Sequence[Problem],
    siblings_PG: Sequence[Sequence[Experience]],
    *,
    behaviors: int = 3,
    strategies: int = 4,
    lessons: int = 4,
    demonstrations: bool = True,
    remembered: int = 4,
    use_siblings: bool = True,
) -> list[TeacherContext]:
    """One context a problem, in the order of `problems_P`. Reads the memory, changes nothing.

    Behaviors by dense retrieval with the problem's prompt (one query for all problems); strategies and lessons of the
    problem itself, newest first; demonstrations: correct attempts of this batch (`siblings_PG`, higher reward first),
    then up to `remembered` correct ones of earlier steps, newest first. Feedback is that on this batch's failures.
    Without `use_siblings`, nothing of this batch is in the context, though the memory already holds it.
    """
    nearest_P = memory.nearest_behaviors_P([problem.prompt for problem in problems_P], behaviors)
    contexts_P = []
    for problem, near, siblings_G in zip(problems_P, nearest_P, siblings_PG, strict=True):
        batch_G = siblings_G if use_siblings else ()
        contexts_P.append(
            TeacherContext(
                problem=problem,
                behaviors=tuple(behavior for behavior, _ in near),
                strategies=tuple(memory.insights(problem.id, kind="strategy", limit=strategies)),
                lessons=tuple(memory.insights(problem.id, kind="lesson", limit=lessons)),
                demonstrations=(
                    _demonstrations(memory, problem, siblings_G, batch_G, remembered) if demonstrations else ()
                ),
                feedback={e.id: e.feedback for e in batch_G if not e.correct and e.feedback},
            )
        )
    return contexts_P


def _demonstrations(
    memory: Memory, problem: Problem, siblings_G: Sequence[Experience], batch_G: Sequence[Experience], remembered: int
) -> tuple[Experience, ...]:
    fresh = sorted((e for e in batch_G if e.correct), key=lambda e: -e.reward)
    earlier = memory.experiences(
        problem.id, correct=True, limit=remembered, without={sibling.id for sibling in siblings_G}
    )
    return (*fresh, *earlier)
