"""What the teacher reads: memory first, general to specific, and last the problem, whole and untouched.

The student never reads this text. Over budget, memories are dropped, least useful first; the problem never is.
"""

from __future__ import annotations

from collections.abc import Callable

from pmd_agent.text import neutralise, strip_thinking
from pmd_agent.types import Problem, TeacherContext

Messages = list[dict[str, str]]

INTRODUCTION = "Notes from practice. Use what fits the problem and ignore the rest."
BEHAVIORS = "Rules that held across problems:"
STRATEGIES = "What worked on this problem:"
LESSONS = "What failed on this problem:"
DEMONSTRATION = "A correct solution of this problem:"
FEEDBACK = "Feedback on a failed attempt at this problem:"
PROBLEM = "Now solve this problem:"


def student_messages(problem: Problem) -> Messages:
    """The plain prompt: no memory, ever."""
    system = [{"role": "system", "content": problem.system}] if problem.system else []
    return [*system, {"role": "user", "content": problem.prompt}]


def teacher_messages(
    context: TeacherContext,
    rollout_id: str | None,
    *,
    max_tokens: int,
    count_tokens: Callable[[str], int],
) -> Messages:
    """The same conversation with the memory before the problem.

    `max_tokens` bounds the user message. While it is exceeded, what is least useful goes first: feedback, then the last
    line of the longest list, the demonstration at the end. `rollout_id` is the rollout being taught (None in
    evaluation): its own text is never its demonstration.
    """
    problem = context.problem
    behaviors = [b.text for b in context.behaviors]
    strategies = [i.text for i in context.strategies]
    lessons = [i.text for i in context.lessons]
    shown = context.demonstration_for(rollout_id)
    demonstration = strip_thinking(shown.text) if shown else ""
    feedback = context.feedback.get(rollout_id, "") if rollout_id else ""

    while True:
        text = render(problem.prompt, behaviors, strategies, lessons, demonstration, feedback)
        if count_tokens(text) <= max_tokens or text == problem.prompt:
            break
        if feedback:
            feedback = ""
        elif lessons or behaviors or strategies:
            max((lessons, behaviors, strategies), key=len).pop()
        else:
            demonstration = ""
    return [*student_messages(problem)[:-1], {"role": "user", "content": text}]


def render(
    problem: str,
    behaviors: list[str],
    strategies: list[str],
    lessons: list[str],
    demonstration: str = "",
    feedback: str = "",
) -> str:
    """The user message. With nothing remembered it is the problem alone, as the student reads it."""
    sections = [
        _bullets(BEHAVIORS, behaviors),
        _bullets(STRATEGIES, strategies),
        _bullets(LESSONS, lessons),
        f"{DEMONSTRATION}\n{neutralise(demonstration)}" if demonstration else "",
        f"{FEEDBACK}\n{neutralise(feedback)}" if feedback else "",
    ]
    sections = [section for section in sections if section]
    if not sections:
        return problem
    return "\n\n".join([INTRODUCTION, *sections, f"{PROBLEM}\n{problem}"])


def _bullets(title: str, lines: list[str]) -> str:
    unique = dict.fromkeys(" ".join(neutralise(line).split()) for line in lines)
    unique.pop("", None)
    return "\n".join([title, *(f"- {line}" for line in unique)]) if unique else ""
