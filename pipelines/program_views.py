"""What a program sees of a problem, its attempts and its insights: never the problem's answer or data.

Nor any text that poses as structure: this is the one place where remembered text is made ready for a program. Ordinary
text stays as it is, to the letter: the policy in the box was pretrained on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from pmd_agent.text import neutralise, strip_thinking
from pmd_agent.types import Attempt, Experience, Insight, Problem, ProblemView

_LINE_STARTS = r"(?:\A|(?<=[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]))"
_HEADING = re.compile(
    _LINE_STARTS + r"(?=[^\S\n]{0,8}(?:\[\s{0,4}\d{1,9}\s{0,4}\]\s{0,4}(?:correct|failed)|feedback\s{0,4}:))",
    re.IGNORECASE,
)
"""Before a line that could pass for an attempt's heading or the verifier's feedback (prompts.py)."""
_FIELD = re.compile(r"\[\[(?=\s{0,8}#)")
"""Where a field of DSPy's begins: `[[ ## name ## ]]`."""
_COUNT = re.compile(r"(?<=\s)\((\d{1,9})\)(?=\s*\Z|\s+-\s)")
"""What could pass for the number of problems behind an insight, at its end or before another."""


def problem_view(problem: Problem, special_tokens: Collection[str] = ()) -> ProblemView:
    """The problem without `answer` and `data`."""
    return ProblemView(
        problem.id, quoted(problem.prompt, special_tokens), quoted(problem.system, special_tokens), problem.kind
    )


def attempt_view(experience: Experience, special_tokens: Collection[str] = ()) -> Attempt:
    """The attempt as written, without its hidden reasoning, and its verdict. What was parsed out of it is left out too."""
    return Attempt(
        id=experience.id,
        text=quoted(strip_thinking(experience.text), special_tokens),
        correct=experience.correct,
        reward=experience.reward,
        feedback=quoted(experience.feedback, special_tokens),
    )


def insight_view(insight: Insight, special_tokens: Collection[str] = ()) -> Insight:
    """The insight, in a text that is safe to read."""
    return replace(insight, text=quoted(insight.text, special_tokens))


def quoted(text: str, special_tokens: Collection[str] = ()) -> str:
    """The text as a program may read it: it can end no turn, begin no field of DSPy's, and pose as no attempt's heading.

    `special_tokens`: those of the tokenizer that will read it.
    """
    return _HEADING.sub("> ", _FIELD.sub("[ [", neutralise(text, special_tokens)))


def one_line(text: str, special_tokens: Collection[str] = ()) -> str:
    """The same on one line, where it can forge no count of problems: `(64)` at its end becomes `[64]`."""
    return _COUNT.sub(r"[\1]", quoted(" ".join(text.split()), special_tokens))
