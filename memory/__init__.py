"""Procedural memory: experiences, insights and behaviors on Chroma, and what the teacher recalls of them.

    with Memory.open(path, HashingEmbedder()) as memory:
        memory.add_experiences(experiences)                  # tier 1, every batch
        memory.rewrite_insights(problem_id, insights)        # tier 2, after each rollout group
        memory.replace_behaviors(behaviors, step)            # tier 3, every K steps
        memory.tidy(step, policy_version, limits)            # who is too old, or beyond the budget
        recalled_P = recall(memory, problems_P, siblings_PG) # .context: what the teacher reads, .choices: why

    codec.py      entries <-> what Chroma can hold       table.py       one Chroma collection and its index
    folder.py     the lock, and whose vectors these are  tiers.py      the tables together, and the way back
    reading.py    Memory's reads                         store.py       Memory's writes
    consolidation.py   who gives way to whom                  deduplication.py  what says the same
    eviction.py   budgets and ages                       ledger.py      how memories fared, step by step
    effects.py   lift, uses, states                     trust.py    who is quarantined, retired, readmitted
    recall.py     Memory -> TeacherContext               bank.py        a memory as a file
    server.py     on a Chroma server                     endpoint_embedder.py    embeddings from a server
    snapshot.py   a copy of one moment, to read
    clusters.py   problems that resemble one another     embedders.py   text -> vectors, offline

Importing this package imports neither chromadb nor scikit-learn nor numpy: they load where they are first used.
"""

from pmd_agent.memory.backend.codec import Entry
from pmd_agent.memory.clusters import cluster_problems, with_old_ids
from pmd_agent.memory.embedders import Embedder, HashingEmbedder
from pmd_agent.memory.eviction import Limits
from pmd_agent.memory.recall import Choice, Recalled, Wanted, recall
from pmd_agent.memory.store import Memory
from pmd_agent.memory.trust import Rules

__all__ = [
    "Choice",
    "Embedder",
    "Entry",
    "HashingEmbedder",
    "Limits",
    "Memory",
    "Recalled",
    "Rules",
    "Wanted",
    "cluster_problems",
    "recall",
    "with_old_ids",
]
