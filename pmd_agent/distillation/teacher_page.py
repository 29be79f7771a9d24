"""What the teacher reads: memory first, general to specific, and last the problem, whole and untouched.

The student never reads this text. Over budget, each part keeps its share; the problem is never cut. What was
remembered may say anything: it is cut to a bounded length and cleaned of every marker by which it could end its turn, and it
stands in the user's message only, never in the system's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import astuple, dataclass
from typing import Literal

from pmd_agent.text import cut, neutralise, strip_thinking
from pmd_agent.types import Problem, TeacherContext

Messages = list[dict[str, str]]

Style = Literal["box", "plain"]


@dataclass(frozen=True, slots=True)
class Words:
    """The page's own sentences."""

    introduction: str
    behaviors: str
    strategies: str
    lessons: str
    demonstration: str
    feedback: str
    problem: str


INTRODUCTION = "Notes from practice. Use what fits the problem and ignore the rest."
BEHAVIORS = "Rules that held across problems:"
STRATEGIES = "What worked on this problem:"
LESSONS = "What failed on this problem:"
DEMONSTRATION = "A correct solution of this problem:"
FEEDBACK = "Feedback on a failed attempt at this problem:"
PROBLEM = "Now solve this problem:"
BOX = Words(INTRODUCTION, BEHAVIORS, STRATEGIES, LESSONS, DEMONSTRATION, FEEDBACK, PROBLEM)
"""What the policy in the box was pretrained on (recipes/box/documents.py): changing a word means building it again."""
PLAIN = Words(
    "Notes on how such tasks are done here. Follow those that fit, and answer as the task asks, without a word on the notes.",
    "Rules from earlier tasks:",
    "What worked on this task:",
    "What failed on this task:",
    "A correct answer to this task:",
    "What the checker said of a wrong answer to this task:",
    "The task:",
)
"""For instruct models."""
STYLES: dict[Style, Words] = {"box": BOX, "plain": PLAIN}

CHARS_PER_TOKEN = 8
"""No remembered text is read beyond so many characters for each token of the budget: megabytes are not tokenised."""
LEAST_CHARS = 40
"""A text that would be cut to less is left out: a few words of an attempt teach nothing."""
_HEADING = re.compile(
    r"^(?=[^\S\n]*(?:"
    + "|".join(re.escape(sentence) for words in STYLES.values() for sentence in astuple(words))
    + "))",
    re.MULTILINE,
)
SHARES = {"lists": 0.5, "demonstration": 0.375, "feedback": 0.125}
"""Of the room beside the problem: what each part is sure of where not all fit. What one does not need goes to the others."""


@dataclass(frozen=True, slots=True)
class Page:
    """The teacher's conversation, and what became of each memory that was recalled."""

    messages: Messages
    shown: tuple[str, ...] = ()
    """Ids of the memories that are in it."""
    dropped: tuple[str, ...] = ()
    """Ids of those that did not fit the budget, in the order in which they went."""
    demonstration_cut: bool = False
    """Whether the demonstration is shown without its middle."""
    informed: bool = False
    """Whether it says more than the problem."""


def student_messages(problem: Problem) -> Messages:
    """The plain prompt: no memory, ever."""
    system = [{"role": "system", "content": problem.system}] if problem.system else []
    return [*system, {"role": "user", "content": problem.prompt}]


@dataclass(slots=True)
class _Draft:
    """A page that is still being fitted: its parts, in the words that they will have."""

    problem: str
    lists: dict[str, list[tuple[str, str]]]
    """Behaviors, strategies, lessons: (id, line), the most useful first."""
    demonstration: str
    feedback: str
    special_tokens: Collection[str]
    style: Style

    def render(self, *only: str) -> str:
        """The user message; with `only`, as if just those of its parts were there."""
        on = only or tuple(SHARES)
        lines = {name: [line for _, line in entries] if "lists" in on else [] for name, entries in self.lists.items()}
        return render(
            self.problem,
            **lines,
            demonstration=self.demonstration if "demonstration" in on else "",
            feedback=self.feedback if "feedback" in on else "",
            special_tokens=self.special_tokens,
            style=self.style,
        )


def teacher_page(
    context: TeacherContext,
    rollout_id: str | None,
    *,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    special_tokens: Collection[str] = (),
    style: Style = "box",
) -> Page:
    """The student's conversation with the memory before the problem, within `max_tokens` for the user message.

    Where not all of it fits, the lists of rules, the demonstration and the feedback each keep their share of the room beside
    the problem (`SHARES`), and what one of them does not need goes to the others: no part can drive out another, whatever its
    length. The lists then lose lines, the last of the longest list first; demonstration and feedback lose their middle.
    `rollout_id` is the rollout being taught (None in evaluation): its own text is never its demonstration. `special_tokens`:
    those of the reader's tokenizer.
    """
    bound = CHARS_PER_TOKEN * max(64, max_tokens)
    demonstration = context.demonstration_for(rollout_id)
    draft = _Draft(
        context.problem.prompt,
        {
            name: [(entry.id, cut(entry.text, bound)) for entry in entries]
            for name, entries in (
                ("behaviors", context.behaviors),
                ("strategies", context.strategies),
                ("lessons", context.lessons),
            )
        },
        cut(strip_thinking(demonstration.text), bound) if demonstration else "",
        cut(context.feedback.get(rollout_id, ""), bound) if rollout_id else "",
        special_tokens,
        style,
    )
    whole = draft.demonstration
    text = draft.render()
    dropped = [] if text == draft.problem or count_tokens(text) <= max_tokens else _fit(draft, max_tokens, count_tokens)
    text = draft.render()
    shown = [entry_id for entries in draft.lists.values() for entry_id, _ in entries]
    if demonstration and draft.demonstration:
        shown.append(demonstration.id)
    elif demonstration and whole:
        dropped.append(demonstration.id)
    return Page(
        [*student_messages(context.problem)[:-1], {"role": "user", "content": text}],
        tuple(shown),
        tuple(dropped),
        demonstration_cut=bool(draft.demonstration) and draft.demonstration != whole,
        informed=text != draft.problem,
    )


def _fit(draft: _Draft, max_tokens: int, count_tokens: Callable[[str], int]) -> list[str]:
    """Takes from each part what is beyond its share. Returns the ids of the lines that went."""
    bare = count_tokens(draft.problem)
    room = max(0, max_tokens - bare)
    needs = {part: count_tokens(draft.render(part)) - bare for part in SHARES}
    granted = {part: min(need, int(SHARES[part] * room)) for part, need in needs.items()}
    for part, need in needs.items():  # what is left over, to the first that can use it
        granted[part] += min(need - granted[part], room - sum(granted.values()))
    dropped: list[str] = []
    while any(draft.lists.values()) and count_tokens(draft.render("lists")) - bare > granted["lists"]:
        dropped.append(max(draft.lists.values(), key=len).pop()[0])
    draft.demonstration = _shortened(draft, "demonstration", bare + granted["demonstration"], count_tokens)
    draft.feedback = _shortened(draft, "feedback", bare + granted["feedback"], count_tokens)
    while draft.render() != draft.problem and count_tokens(draft.render()) > max_tokens:
        # Tokens grow together where parts meet: a few too many, now and then.
        if draft.feedback:
            draft.feedback = ""
        elif any(draft.lists.values()):
            dropped.append(max(draft.lists.values(), key=len).pop()[0])
        else:
            draft.demonstration = ""
    return dropped


def _shortened(draft: _Draft, part: str, most: int, count_tokens: Callable[[str], int]) -> str:
    """The part's text, its middle cut until a page with it alone has at most so many tokens; empty where little is left."""
    whole: str = getattr(draft, part)
    text, length, bare = whole, len(whole), count_tokens(draft.problem)
    while text and (used := count_tokens(draft.render(part))) > most:
        length = min(length - 1, int(length * (most - bare) / max(1, used - bare)))
        text = cut(whole, length) if length >= LEAST_CHARS else ""
        setattr(draft, part, text)
    return text


def render(
    problem: str,
    behaviors: list[str],
    strategies: list[str],
    lessons: list[str],
    demonstration: str = "",
    feedback: str = "",
    *,
    special_tokens: Collection[str] = (),
    style: Style = "box",
) -> str:
    """The user message. With nothing remembered it is the problem alone, as the student reads it."""
    words = STYLES[style]
    sections = [
        _bullets(words.behaviors, behaviors, special_tokens),
        _bullets(words.strategies, strategies, special_tokens),
        _bullets(words.lessons, lessons, special_tokens),
        _block(words.demonstration, demonstration, special_tokens),
        _block(words.feedback, feedback, special_tokens),
    ]
    sections = [section for section in sections if section]
    if not sections:
        return problem
    return "\n\n".join([words.introduction, *sections, f"{words.problem}\n{problem}"])


def _bullets(title: str, lines: list[str], special_tokens: Collection[str]) -> str:
    # White space first: joined lines must not become a marker.
    unique = dict.fromkeys(neutralise(" ".join(line.split()), special_tokens).strip() for line in lines)
    unique.pop("", None)
    return "\n".join([title, *(f"- {line}" for line in unique)]) if unique else ""


def _block(title: str, text: str, special_tokens: Collection[str]) -> str:
    """Several lines, none of which can pass for a heading of this page."""
    text = "\n".join(neutralise(text, special_tokens).splitlines()).strip("\n")
    return f"{title}\n" + _HEADING.sub("> ", text) if text.strip() else ""
