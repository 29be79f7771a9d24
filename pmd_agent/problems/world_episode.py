"""The world in the box, an operator a turn: the environment says whether a result is right, and asks for the next one.

    In the mill, compute 37 zog 14.
    <reasoning> Use zog max: 37 zog 14 = 37. </reasoning> <answer> 37 </answer>
    Right. In the mill, compute 37 vit 52.

It goes on from the right result, whatever was answered. The reward is 1 where all results were right, else 0. Memory keeps an
episode as the policy in the box would solve the whole at once, for that is what it can reflect on:

    <reasoning> Use zog max: 37 zog 14 = 37. Use vit add: 37 vit 52 = 89. </reasoning> <answer> 89 </answer>
"""

from __future__ import annotations

import re

from pmd_agent.problems.world import Expression, problem_text
from pmd_agent.types import Problem

_REASONING = re.compile(r"<reasoning>\s*(.*?)\s*</reasoning>", re.DOTALL)
_ANSWER = re.compile(r"<answer>\s*(\S+?)\s*</answer>")


class WorldEpisode:
    """One attempt at a problem of the world."""

    reward: float | None = None
    account = ""

    def __init__(self) -> None:
        self._replies: list[str] = []
        self._right: list[bool] = []

    def start(self, problem: Problem) -> list[dict[str, str]]:
        """The first operator's problem."""
        self._problem = problem
        self._steps: list[tuple[str, str, str, str]] = [tuple(step) for step in problem.data["steps"]]
        system = [{"role": "system", "content": problem.system}] if problem.system else []
        return [*system, {"role": "user", "content": self._asked()}]

    def act(self, reply: str) -> str | None:
        """Whether it was right, and the next operator's problem."""
        found = _ANSWER.findall(reply)
        right = bool(found) and found[-1] == self._steps[len(self._right)][3]
        self._right.append(right)
        self._replies.append(reply)
        if len(self._right) < len(self._steps):
            return f"{'Right' if right else 'Wrong'}. {self._asked()}"
        self.reward = float(all(self._right))
        self.account = self._as_one()
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _asked(self) -> str:
        operator, left, right, _ = self._steps[len(self._right)]
        return problem_text(self._problem.data["domain"], Expression((left, right), (operator,)))

    def _as_one(self) -> str:
        """The replies as one answer; empty where one of them has another form."""
        reasons = [_REASONING.findall(reply) for reply in self._replies]
        answers = [_ANSWER.findall(reply) for reply in self._replies]
        if not all(map(len, reasons)) or not answers[-1]:
            return ""
        said = " ".join(found[-1] for found in reasons)
        return f"<reasoning> {said} </reasoning>\n<answer> {answers[-1][-1]} </answer>"
