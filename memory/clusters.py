"""Problems that resemble one another, from whose insights behaviors are abstracted together."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count, pairwise
from typing import TYPE_CHECKING

from pmd_agent.text import readable

if TYPE_CHECKING:
    from pmd_agent.memory.embedders import Embedder


def cluster_problems(
    problems: Sequence[tuple[str, str]], embedder: Embedder, *, size: int, seed: int
) -> dict[str, list[str]]:
    """Cluster id -> sorted problem ids, every problem in exactly one cluster of about `size` (never over 2 * size).

    `problems` are (id, text). K-means on the embeddings with ceil(n / size) clusters; one that turns out larger than
    2 * size is cut into equal parts. Ids are `cluster-000`, `cluster-001`, … by smallest member. The order of
    `problems` does not matter, and equal arguments give equal clusters. ValueError where size < 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    if not problems:
        return {}
    ordered = sorted(dict(problems).items())
    members_of: defaultdict[int, list[str]] = defaultdict(list)
    labels = _labels([text for _, text in ordered], embedder, size, seed)
    for (problem_id, _), label in zip(ordered, labels, strict=True):
        members_of[label].append(problem_id)
    parts = sorted(part for members in members_of.values() for part in _cut(members, size))
    return {f"cluster-{i:03d}": part for i, part in enumerate(parts)}


def with_old_ids(clusters: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The same clusters, each under the id of the one before that it shares most with; the others get ids never used.

    Pairs by number of shared members, most first (equals by id): an id follows its members, not its place in the list.
    """
    shared = sorted(
        (-len(set(members) & set(old)), name, old_name)
        for name, members in clusters.items()
        for old_name, old in before.items()
        if set(members) & set(old)
    )
    named: dict[str, str] = {}
    for _, name, old_name in shared:
        if name not in named and old_name not in named.values():
            named[name] = old_name
    free = (f"cluster-{i:03d}" for i in count() if f"cluster-{i:03d}" not in before)
    return {named.get(name) or next(free): list(members) for name, members in clusters.items()}


def _labels(texts: list[str], embedder: Embedder, size: int, seed: int) -> list[int]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    means = KMeans(n_clusters=math.ceil(len(texts) / size), n_init=4, random_state=seed)
    # One thread: several add up in an order of their own, and a problem on the border would change sides.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Many equal texts give fewer clusters than asked for, which is right.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [int(label) for label in means.fit_predict(embedder.embed([readable(text) for text in texts]))]


def _cut(members: list[str], size: int) -> list[list[str]]:
    if len(members) <= 2 * size:
        return [members]
    parts = math.ceil(len(members) / size)
    edges = [round(i * len(members) / parts) for i in range(parts + 1)]
    return [members[start:end] for start, end in pairwise(edges)]
