"""Samples, a deterministic stand-in for the loop's writes, and a whole dump of a store.

Loaded by conftest.py, and run as a process of its own by the kill test:

    python writer.py FOLDER FIRST_STEP STEPS      prints "open", then each step's number once it is written
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmd_agent.memory import Limits, Memory
from pmd_agent.memory.backend.codec import unescape
from pmd_agent.types import Behavior, Experience, Insight


class TinyEmbedder:
    """Eight numbers out of a hash: nothing is near anything. Starts in no time, where nearness is not the question."""

    identity = "tiny"
    dimension = 8

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        digests = [hashlib.sha256(text.encode("utf-8")).digest()[:8] for text in texts]
        vectors = np.array([[byte - 127.5 for byte in digest] for digest in digests], dtype=np.float32).reshape(-1, 8)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def experience(id: str = "3/p/0", /, **changes: Any) -> Experience:
    step, problem, _ = id.split("/")
    fields: dict[str, Any] = dict(
        id=id,
        problem_id=problem,
        text=f"the attempt {id}",
        reward=1.0,
        correct=True,
        feedback="",
        answer=None,
        step=int(step),
        policy_version=int(step),
    )
    return Experience(**fields | changes)


def insight(id: str = "3/p/strategy-0", /, **changes: Any) -> Insight:
    step, problem, rest = id.split("/")
    fields: dict[str, Any] = dict(
        id=id,
        problem_id=problem,
        kind="lesson" if "lesson" in rest else "strategy",
        text=f"what {id} says",
        confidence=0.5,
        sources=(f"{step}/{problem}/0",),
        step=int(step),
        policy_version=int(step),
    )
    return Insight(**fields | changes)


def behavior(id: str = "3/behavior_a", /, **changes: Any) -> Behavior:
    step, name = id.split("/")
    fields: dict[str, Any] = dict(
        id=id,
        name=name,
        text=f"the rule {id}",
        cluster="cluster-000",
        support=2,
        sources=(f"{step}/p/strategy-0",),
        step=int(step),
        policy_version=int(step),
    )
    return Behavior(**fields | changes)


def problems_of(step: int) -> list[str]:
    return random.Random(f"problems {step}").sample(["p1", "p2", "p3", "p4"], 3)


def reflect(step: int, problem: str) -> list[Insight]:
    """None to three strategies, none to four lessons, some of which come up again and again."""
    rng = random.Random(f"insights {step} {problem}")
    strategies = [insight(f"{step}/{problem}/strategy-{i}") for i in range(rng.randrange(4))]
    lessons = [
        insight(f"{step}/{problem}/lesson-{i}", text=f"Never do  {rng.choice('ABCabc')}")
        for i in range(rng.randrange(5))
    ]
    return strategies + lessons


def generalise(step: int, live: Sequence[Behavior]) -> list[Behavior]:
    """Some behaviors carried over as they are, some new versions, some new, some gone."""
    rng = random.Random(f"behaviors {step}")
    carried = [each for each in sorted(live, key=lambda each: each.id) if rng.random() < 0.3]
    names = {each.name for each in carried}
    return carried + [behavior(f"{step}/behavior_{name}") for name in "abcdef" if f"behavior_{name}" not in names][:4]


def write_step(memory: Memory, step: int) -> None:
    """What the loop writes in one step: the same for the same memory and step."""
    problems = problems_of(step)
    memory.add_experiences(
        [
            experience(f"{step}/{problem}/{g}", correct=g == 0, reward=float(g == 0))
            for problem in problems
            for g in range(3)
        ]
    )
    memory.rewrite_insights_P({problem: reflect(step, problem) for problem in problems})
    if step % 2:
        memory.replace_behaviors(generalise(step, memory.behaviors()), step)
    memory.note(
        step, uses={e.id: step for e in memory.behaviors()}, passed={problem: step / 100 for problem in problems}
    )
    memory.tidy(step, step, Limits({"experience": 20, "insight": 12}, max_steps=9))


def dump(memory: Memory) -> dict[str, dict[str, Any]]:
    """All that Chroma holds, by collection and id, and that the index in RAM says the same."""
    tables = {**memory._store.live, "archive": memory._store.archive}
    ledger = memory._store.ledger
    packed = [unescape(str(row["record"])) for row in ledger._collection.get(include=["metadatas"])["metadatas"] or []]
    assert sorted(packed) == sorted(json.dumps(record, ensure_ascii=False) for record in ledger.records.values())
    whole: dict[str, dict[str, Any]] = {"ledger": dict(ledger.records)}
    for name, table in tables.items():
        rows = table._collection.get(include=["metadatas", "documents", "embeddings"])
        assert set(rows["ids"]) == set(table.rows)
        assert {key for keys in table._keys_of.values() for key in keys} == set(table.rows)
        whole[name] = {
            key: (metadata, document, [round(float(x), 5) for x in embedding])
            for key, metadata, document, embedding in zip(
                rows["ids"], rows["metadatas"], rows["documents"], rows["embeddings"], strict=True
            )
        }
        for key, (metadata, *_) in whole[name].items():
            row = table.rows[key]
            assert (row.step, row.position, row.retired_at) == (
                metadata["step"],
                metadata["position"],
                metadata.get("retired_at"),
            )
    return whole


if __name__ == "__main__":
    folder, first, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with Memory.open(folder, TinyEmbedder()) as opened:
        print("open", flush=True)
        for number in range(first, first + steps):
            write_step(opened, number)
            print(number, flush=True)
