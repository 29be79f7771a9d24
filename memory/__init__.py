"""Procedural memory: experiences, insights and behaviors on Chroma, and what the teacher recalls of them.

    with Memory.open(path, HashingEmbedder()) as memory:
        memory.add_experiences(experiences)                  # tier 1, every batch
        memory.rewrite_insights(problem_id, insights)        # tier 2, after each rollout group
        memory.replace_behaviors(behaviors, step)            # tier 3, every K steps
        memory.tidy(step, policy_version, limits)            # who is too old, or beyond the budget
        recalled_P = recall(memory, problems_P, siblings_PG) # .context: what the teacher reads, .choices: why

    queries.py      Memory's reads                    store.py              Memory's writes
    recall.py      Memory -> TeacherContext          bank.py               a memory as a file
    merge_adapter.py     who gives way to whom             same_text.py          what says the same
    eviction.py    budgets and ages                  clusters.py           problems that resemble one another
    effects.py     what each memory does             trust.py              who is quarantined, retired, readmitted
    embedders.py   text -> vectors, offline          endpoint_embedder.py  the same from a server
    backend/       how all of it lies on Chroma

Importing this package imports neither chromadb nor scikit-learn nor numpy: they load where they are first used.
"""

from pmd_agent.memory.backend.codec import Entry
from pmd_agent.memory.clusters import cluster_problems, with_old_ids
from pmd_agent.memory.effects import Sums, worth
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
    "Sums",
    "Wanted",
    "cluster_problems",
    "recall",
    "with_old_ids",
    "worth",
]
