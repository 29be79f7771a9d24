"""The answer tag's content, compared as text."""

from __future__ import annotations

from dataclasses import dataclass

from pmd_agent.errors import ProblemError
from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers.answer_tag import format_feedback, tagged_answer

_QUOTED = 80
"""Characters of a wrong answer that its feedback quotes."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Reward 1 where answer and content are the same text, runs of whitespace taken for one space; case counts."""

    feedback: bool = False
    """Whether a failed attempt is told what was read, or what was missing in its format. A right answer never is."""

    def verify(self, problem: Problem, text: str) -> Verdict:
        """ProblemError where the problem has no answer to compare with."""
        right = normalised(problem.answer or "")
        if not right:
            raise ProblemError(f"{problem.id} has no answer to compare with.", "Use a verifier that needs none.")
        tagged = tagged_answer(text)
        answer = normalised(tagged.content or "")
        if not answer:
            empty = "The <answer> tag is empty; end with <answer>...</answer>."
            return self._wrong(format_feedback(tagged.fault) if tagged.content is None else empty, None)
        if answer == right:
            return Verdict(reward=1.0, correct=True, answer=answer)
        quoted = answer if len(answer) <= _QUOTED else f"{answer[:_QUOTED]}..."
        return self._wrong(f'Your answer "{quoted}" is not correct.', answer)

    def _wrong(self, feedback: str, answer: str | None) -> Verdict:
        return Verdict(reward=0.0, correct=False, feedback=feedback if self.feedback else "", answer=answer)


def normalised(text: str) -> str:
    """Every run of whitespace as one space, none at the ends."""
    return " ".join(text.split())
