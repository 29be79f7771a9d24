"""Which of the candidates are read: near the problem, and not near each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmd_agent.memory.queries import Candidate


def diverse(candidates: Sequence[Candidate], k: int, diversity: float) -> list[Candidate]:
    """Up to `k` candidates by maximal marginal relevance (Carbonell and Goldstein, 1998).

    One after the other, that of largest (1 - diversity) x similarity to the query - diversity x similarity to the nearest of
    those already chosen. `diversity` 0: the k nearest. `candidates` are best first; of equals the first is chosen.
    """
    chosen: list[Candidate] = []
    left = list(candidates)

    def worth(candidate: Candidate) -> float:
        nearest = max((float(candidate.embedding @ other.embedding) for other in chosen), default=0.0)
        return round((1 - diversity) * candidate.similarity - diversity * max(0.0, nearest), 5)

    while left and len(chosen) < k:
        best = max(left, key=worth)  # the first of equals
        left.remove(best)
        chosen.append(best)
    return chosen
