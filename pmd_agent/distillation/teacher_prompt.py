"""What the teacher reads: memory first, general to specific, and last the problem, whole and untouched.

The student never reads this text. Over budget, memories are dropped, least useful first; the problem never is. What was
remembered may say anything: it is cut to a bounded length and cleaned of every marker by which it could end its turn, and it
stands in the user's message only, never in the system's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pmd_agent.text import cut, neutralise, strip_thinking
from pmd_agent.types import Problem, TeacherContext

Messages = list[dict[str, str]]

INTRODUCTION = "Notes from practice. Use what fits the problem and ignore the rest."
BEHAVIORS = "Rules that held across problems:"
STRATEGIES = "What worked on this problem:"
LESSONS = "What failed on this problem:"
DEMONSTRATION = "A correct solution of this problem:"
FEEDBACK = "Feedback on a failed attempt at this problem:"
PROBLEM = "Now solve this problem:"

CHARS_PER_TOKEN = 8
"""No remembered text is read beyond so many characters for each token of the budget: megabytes are not tokenised."""
_HEADING = re.compile(
    r"^(?=[^\S\n]*(?:"
    + "|".join(map(re.escape, (INTRODUCTION, BEHAVIORS, STRATEGIES, LESSONS, DEMONSTRATION, FEEDBACK, PROBLEM)))
    + "))",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The teacher's conversation, and what became of each memory that was recalled."""

    messages: Messages
    read: tuple[str, ...] = ()
    """Ids of the memories that are in it."""
    dropped: tuple[str, ...] = ()
    """Ids of those that did not fit the budget, in the order in which they went."""


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
    special_tokens: Collection[str] = (),
) -> Messages:
    """The same conversation with the memory before the problem: `read` without the account of it."""
    return read(
        context, rollout_id, max_tokens=max_tokens, count_tokens=count_tokens, special_tokens=special_tokens
    ).messages


def read(
    context: TeacherContext,
    rollout_id: str | None,
    *,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    special_tokens: Collection[str] = (),
) -> Reading:
    """The teacher's conversation within `max_tokens` for the user message.

    While that is exceeded, what is least useful goes first: feedback, then the last line of the longest list, the
    demonstration at the end. One that would not fit even alone is cut first, to half of the room beside the problem, so
    that it does not take all the rest with it. `rollout_id` is the rollout being taught (None in evaluation): its own text is
    never its demonstration. `special_tokens`: the special tokens of the reader's tokenizer.
    """
    problem = context.problem
    bound = CHARS_PER_TOKEN * max(64, max_tokens)
    behaviors, strategies, lessons = (
        [(entry.id, cut(entry.text, bound)) for entry in entries]
        for entries in (context.behaviors, context.strategies, context.lessons)
    )
    shown = context.demonstration_for(rollout_id)
    demonstration = cut(strip_thinking(shown.text), bound) if shown else ""
    feedback = cut(context.feedback.get(rollout_id, ""), bound) if rollout_id else ""
    dropped: list[str] = []

    def alone(demonstration: str) -> int:
        return count_tokens(render(problem.prompt, [], [], [], demonstration, special_tokens=special_tokens))

    if shown and (whole := alone(demonstration)) > max_tokens:
        bare = count_tokens(problem.prompt)
        share = max(0, max_tokens - bare) / 2 / max(1, whole - bare)
        demonstration = cut(demonstration, int(share * len(demonstration)))

    while True:
        text = render(
            problem.prompt,
            [line for _, line in behaviors],
            [line for _, line in strategies],
            [line for _, line in lessons],
            demonstration if shown else "",
            feedback,
            special_tokens=special_tokens,
        )
        if text == problem.prompt or count_tokens(text) <= max_tokens:
            break
        if feedback:
            feedback = ""
        elif lessons or behaviors or strategies:
            dropped.append(max((lessons, behaviors, strategies), key=len).pop()[0])
        else:
            assert shown is not None
            dropped.append(shown.id)
            shown = None
    ids = [entry_id for entry_id, _ in (*behaviors, *strategies, *lessons)] + ([shown.id] if shown else [])
    return Reading([*student_messages(problem)[:-1], {"role": "user", "content": text}], tuple(ids), tuple(dropped))


def render(
    problem: str,
    behaviors: list[str],
    strategies: list[str],
    lessons: list[str],
    demonstration: str = "",
    feedback: str = "",
    *,
    special_tokens: Collection[str] = (),
) -> str:
    """The user message. With nothing remembered it is the problem alone, as the student reads it."""
    sections = [
        _bullets(BEHAVIORS, behaviors, special_tokens),
        _bullets(STRATEGIES, strategies, special_tokens),
        _bullets(LESSONS, lessons, special_tokens),
        _block(DEMONSTRATION, demonstration, special_tokens),
        _block(FEEDBACK, feedback, special_tokens),
    ]
    sections = [section for section in sections if section]
    if not sections:
        return problem
    return "\n\n".join([INTRODUCTION, *sections, f"{PROBLEM}\n{problem}"])


def _bullets(title: str, lines: list[str], special_tokens: Collection[str]) -> str:
    # White space first: joined lines must not become a marker.
    unique = dict.fromkeys(neutralise(" ".join(line.split()), special_tokens).strip() for line in lines)
    unique.pop("", None)
    return "\n".join([title, *(f"- {line}" for line in unique)]) if unique else ""


def _block(title: str, text: str, special_tokens: Collection[str]) -> str:
    """Several lines, none of which can pass for a heading of this page."""
    text = "\n".join(neutralise(text, special_tokens).splitlines()).strip("\n")
    return f"{title}\n" + _HEADING.sub("> ", text) if text.strip() else ""
