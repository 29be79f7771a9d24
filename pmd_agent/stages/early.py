"""What is done of a group of attempts while others are still sampled: its verdicts, and reflection on it.

Only where the policy serves (vLLM): then reflections are answered beside the attempts that are still under way, and the
step does not wait for the longest of them. What is found is what would be found afterwards: memory is read before the
first attempt, and written when all are there, in the order of the problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pmd_agent.stages.parts import Metrics, Parts
from pmd_agent.stages.reflect import Reflected, reflected, reflecting_lm, reflects
from pmd_agent.stages.remember import others_of, tried
from pmd_agent.stages.rollouts import verified
from pmd_agent.types import Problem, Rollout
from pmd_agent.verifiers import Verified

if TYPE_CHECKING:
    import dspy

THREADS = 64
"""Reflections under way at one time."""


class Early:
    """Of one step."""

    def __init__(self, parts: Parts, m: Metrics, problems_P: Sequence[Problem]) -> None:
        self.parts, self.step, self.problems_P = parts, m.step, problems_P
        self.wanted = parts.policy.serves and len(problems_P) > 1
        self.verified: dict[int, Verified] = {}
        """Place of a problem -> the verdicts on its attempts."""
        self._reflected: dict[int, Future[Reflected]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._lm: dspy.LM | None = None
        if self.wanted and reflects(parts, m.step):
            self._pool = ThreadPoolExecutor(THREADS, "pmd-reflect")
            self._lm = reflecting_lm(parts, m.step)
            self._others = [others_of(parts, m.step, p.id) for p in problems_P]

    def complete(self, place: int, rollouts_G: Sequence[Rollout]) -> None:
        """All attempts at a problem are there."""
        problem = self.problems_P[place]
        found = self.verified[place] = verified(self.parts, [problem], [rollouts_G])
        if self._pool is not None and self._lm is not None:
            group = [*self._others[place], *tried(self.step, rollouts_G, found.verdicts_PG[0])]
            self._reflected[place] = self._pool.submit(reflected, self.parts, self.step, self._lm, [problem], [group])

    @property
    def begun(self) -> frozenset[int]:
        """Places of the problems that are being reflected on."""
        return frozenset(self._reflected)

    def reflected(self) -> list[Reflected]:
        """What was written of them; waits for it. Raises what the reflector raised."""
        try:
            return [future.result() for future in self._reflected.values()]
        finally:
            self.close()

    def close(self) -> None:
        """What has not begun never will."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
