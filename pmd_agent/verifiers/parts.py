"""An answer in parts, each compared as text, and told of as a program's interface would: the fault, not the form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pmd_agent.errors import ProblemError
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.answer_tag import format_feedback, tagged_answer
from pmd_agent.verifiers.exact import normalised

Feedback = Literal["none", "part", "message"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Reward 1 where every part is the very text, white space aside. Parts stand in the answer tag with `;` in between.

    `Problem.data["parts"]` has for each part its `name`, its `answer`, and `checks`: pairs of a pattern, which a right text
    has, and what is said of one that lacks it.
    """

    feedback: Feedback = "message"
    """none: right or wrong. part: which part is wrong. message: also the first of its checks that fails."""

    def verify(self, problem: Problem, text: str) -> Verdict:
        """ProblemError where the problem has no parts."""
        parts = _parts_of(problem)
        tagged = tagged_answer(text)
        if not normalised(tagged.content or ""):
            empty = "The <answer> tag is empty; end with <answer>...</answer>."
            return self._wrong(format_feedback(tagged.fault) if tagged.content is None else empty, None)
        given = [normalised(part) for part in (tagged.content or "").split(";")]
        right = [normalised(part["answer"]) for part in parts]
        answer = "; ".join(given)
        if given == right:
            return Verdict(reward=1.0, correct=True, answer=answer)
        if len(given) != len(parts):
            count = f"{len(given)} {'part' if len(given) == 1 else 'parts'} instead of {len(parts)}"
            return self._wrong(f"The answer has {count}; a semicolon divides them.", answer)
        said = [self._said(part, mine) for part, mine in zip(parts, given, strict=True)]
        return self._wrong(" ".join(said), answer)

    def _said(self, part: Mapping[str, Any], given: str) -> str:
        """A sentence about one part."""
        if given == normalised(part["answer"]):
            return f"The {part['name']} is right."
        if self.feedback == "message":
            for pattern, fault in part.get("checks", ()):
                if not re.search(pattern, given):
                    return f"The {part['name']} {fault}."
        return f"The {part['name']} is not right."

    def _wrong(self, feedback: str, answer: str | None) -> Verdict:
        return Verdict(reward=0.0, correct=False, feedback="" if self.feedback == "none" else feedback, answer=answer)


def _parts_of(problem: Problem) -> Sequence[Mapping[str, Any]]:
    parts = problem.data.get("parts")
    whole = isinstance(parts, list | tuple) and parts
    if not whole or not all(isinstance(p, Mapping) and {"name", "answer"} <= set(p) for p in parts or ()):
        raise ProblemError(
            f"{problem.id} has no parts to compare with.", 'Give a field parts: [{"name": ..., "answer": ...}, ...].'
        )
    found: Sequence[Mapping[str, Any]] = parts or ()
    if odd := next(
        (str(p["answer"]) for p in found if ";" in str(p["answer"]) or not normalised(str(p["answer"]))), None
    ):
        raise ProblemError(f"{problem.id}: {odd!r} cannot be a part.", "Parts are not empty and have no semicolon.")
    return found
