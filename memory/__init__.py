"""Procedural memory: experiences, insights and behaviors on Chroma, and what the teacher recalls of them.

    with Memory.open(path, HashingEmbedder()) as memory:
        memory.add_experiences(experiences)                  # tier 1, every batch
        memory.rewrite_insights(problem_id, insights)        # tier 2, after each rollout group
        memory.replace_behaviors(behaviors, step)            # tier 3, every K steps
        contexts_P = recall(memory, problems_P, siblings_PG)

    codec.py      entries <-> what Chroma can hold       table.py       one Chroma collection and its index
    folder.py     the lock, and whose vectors these are  store.py       Memory: writes, reads, rollback
    embedders.py  text -> vectors, offline               recall.py      Memory -> TeacherContext
    clusters.py   problems that resemble one another

Importing this package imports neither chromadb nor scikit-learn nor numpy: they load where they are first used.
"""

from pmd_agent.memory.clusters import cluster_problems
from pmd_agent.memory.codec import Entry
from pmd_agent.memory.embedders import Embedder, HashingEmbedder
from pmd_agent.memory.recall import recall
from pmd_agent.memory.store import Memory

__all__ = ["Embedder", "Entry", "HashingEmbedder", "Memory", "cluster_problems", "recall"]
