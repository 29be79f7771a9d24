"""What the teacher is given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pmd_agent.memory import HashingEmbedder, Memory, Wanted
from pmd_agent.memory import recall as recall_all
from pmd_agent.memory.diversity import diverse
from pmd_agent.memory.queries import Candidate
from pmd_agent.types import Problem, TeacherContext


def recall(memory: Memory, problems: list[Problem], siblings_PG: list[Any], **changes: Any) -> list[TeacherContext]:
    return [each.context for each in recall_all(memory, problems, siblings_PG, Wanted(**changes))]


P = Problem(id="p", prompt="compute 37 zog 14")
Q = Problem(id="q", prompt="compute 5 vit 9")


@pytest.fixture
def filled(memory: Memory, make: SimpleNamespace) -> Memory:
    """Steps 1 and 2 of problem p; step 3 is the batch."""
    for step in (1, 2):
        memory.add_experiences([make.experience(f"{step}/p/{g}", correct=g < 2, reward=float(g < 2)) for g in range(3)])
        memory.rewrite_insights(
            "p", [make.insight(f"{step}/p/{kind}-{i}") for kind in ("strategy", "lesson") for i in range(3)]
        )
    memory.replace_behaviors(
        [
            make.behavior(f"2/behavior_{i}", text=text)
            for i, text in enumerate(["Use zog max.", "Use vit min.", "Use quop add."])
        ],
        2,
    )
    return memory


@pytest.fixture
def siblings(filled: Memory, make: SimpleNamespace) -> list[object]:
    group = [
        make.experience("3/p/0", correct=False, reward=0.0, feedback="wrong: 3"),
        make.experience("3/p/1", reward=0.7, feedback="slow"),
        make.experience("3/p/2", reward=1.0),
        make.experience("3/p/3", correct=False, reward=0.0),
    ]
    filled.add_experiences(group)  # the loop remembers before it recalls
    return group


def ids(entries: tuple[object, ...]) -> list[str]:
    return [entry.id for entry in entries]  # type: ignore[attr-defined]


def test_everything_in_its_order(filled: Memory, siblings: list[object]) -> None:
    context, other = recall(filled, [P, Q], [siblings, []], behaviors=1)
    assert context.problem is P
    assert [b.text for b in context.behaviors] == ["Use zog max."]
    assert ids(context.strategies) == ["2/p/strategy-0", "2/p/strategy-1", "2/p/strategy-2"]
    assert ids(context.lessons) == ["2/p/lesson-0", "2/p/lesson-1", "2/p/lesson-2", "1/p/lesson-0"]
    # siblings first, the better one before the other; then earlier steps, newest first; each once
    assert ids(context.demonstrations) == ["3/p/2", "3/p/1", "2/p/0", "2/p/1", "1/p/0", "1/p/1"]
    assert context.feedback == {}, "a correct attempt is shown"
    assert other == TeacherContext(problem=Q, behaviors=other.behaviors)
    assert [b.text for b in other.behaviors] == ["Use vit min."]


@pytest.mark.parametrize(
    ("feedback", "beside", "alone"),
    [("always", True, True), ("without_solution", False, True), ("never", False, False)],
)
def test_when_feedback_is_read(
    filled: Memory, siblings: list[Any], feedback: Any, beside: bool, alone: bool, make: SimpleNamespace
) -> None:
    (context,) = recall(filled, [P], [siblings], feedback=feedback)
    assert context.feedback == ({"3/p/0": "wrong: 3"} if beside else {})
    failed = [make.experience("3/q/0", correct=False, reward=0.0, feedback="wrong: 3")]
    (context,) = recall(filled, [Q], [failed], feedback=feedback)
    assert context.feedback == ({"3/q/0": "wrong: 3"} if alone else {})


def test_a_rollout_is_never_shown_itself(filled: Memory, siblings: list[object]) -> None:
    (context,) = recall(filled, [P], [siblings])
    shown = {rollout: context.demonstration_for(rollout).id for rollout in ("3/p/0", "3/p/1", "3/p/2")}  # type: ignore[union-attr]
    assert shown == {"3/p/0": "3/p/2", "3/p/1": "3/p/2", "3/p/2": "3/p/1"}


def test_the_only_success_of_the_batch_gets_an_earlier_one(filled: Memory, make: SimpleNamespace) -> None:
    only = make.experience("3/p/0")
    filled.add_experiences([only])
    (context,) = recall(filled, [P], [[only]])
    assert context.demonstration_for("3/p/0") == make.experience("2/p/0")
    assert context.demonstration_for("3/p/1") == only


def test_without_siblings_nothing_of_the_batch_is_shown(filled: Memory, siblings: list[object]) -> None:
    (context,) = recall(filled, [P], [siblings], siblings=False)
    assert ids(context.demonstrations) == ["2/p/0", "2/p/1", "1/p/0", "1/p/1"]
    assert context.feedback == {}


def test_numbers_and_switches(filled: Memory, siblings: list[object]) -> None:
    (context,) = recall(filled, [P], [siblings], behaviors=0, strategies=1, lessons=2, remembered=1)
    assert context.behaviors == ()
    assert ids(context.strategies) == ["2/p/strategy-0"]
    assert ids(context.lessons) == ["2/p/lesson-0", "2/p/lesson-1"]
    assert ids(context.demonstrations) == ["3/p/2", "3/p/1", "2/p/0"]
    (context,) = recall(filled, [P], [siblings], demonstrations=False)
    assert context.demonstrations == ()
    assert context.feedback == {"3/p/0": "wrong: 3"}


def test_recall_changes_nothing(filled: Memory, siblings: list[object], make: SimpleNamespace) -> None:
    before = make.dump(filled)
    assert recall(filled, [P, Q], [siblings, []]) == recall(filled, [P, Q], [siblings, []])
    assert make.dump(filled) == before


def test_only_the_tiers_that_are_on(tmp_path: Path, make: SimpleNamespace) -> None:
    sibling = make.experience("3/p/0")
    with Memory.open(tmp_path, HashingEmbedder(64), tiers=[]) as memory:
        make.write_step(memory, 1)
        assert recall(memory, [P], [[sibling]]) == [TeacherContext(problem=P, demonstrations=(sibling,))]


def test_no_problems(memory: Memory) -> None:
    assert recall(memory, [], []) == []
    with pytest.raises(ValueError, match="zip"):
        recall(memory, [P], [])


# ---- diversity, effects, controls, reasons


def candidate(make: SimpleNamespace, name: str, similarity: float, *vector: float) -> Candidate:
    return Candidate(make.behavior(f"1/{name}"), similarity, np.array(vector, dtype=np.float32))


def test_diversity_prefers_what_says_something_else(make: SimpleNamespace) -> None:
    near = [candidate(make, "a", 0.9, 1, 0), candidate(make, "b", 0.85, 0.99, 0.14), candidate(make, "c", 0.5, 0, 1)]
    assert [c.entry.id for c in diverse(near, 2, 0.0)] == ["1/a", "1/b"]
    assert [c.entry.id for c in diverse(near, 2, 0.5)] == ["1/a", "1/c"]
    assert [c.entry.id for c in diverse(near, 9, 0.5)] == ["1/a", "1/c", "1/b"]
    assert diverse(near, 0, 0.5) == diverse([], 3, 0.5) == []


def test_every_choice_has_its_reason(filled: Memory, siblings: list[Any]) -> None:
    filled.note(2, states={"2/behavior_1": ["quarantined", "lift -0.1"], "2/p/lesson-0": ["retired", "solved"]})
    (found,) = recall_all(filled, [P], [siblings], Wanted(behaviors=1, lessons=2))
    why = {choice.id: (choice.chosen, choice.why) for choice in found.choices}
    assert why["2/behavior_0"][0] and "number 1 of" in why["2/behavior_0"][1]
    assert why["2/p/lesson-0"] == (False, "retired: solved (step 3)")
    assert ids(found.context.lessons) == ["2/p/lesson-1", "2/p/lesson-2"], "what is not read takes no place"
    assert not why["1/p/lesson-0"][0] and "limit of 2" in why["1/p/lesson-0"][1]
    assert why["3/p/2"] == (True, "a correct attempt of this batch")
    assert why["2/p/0"] == (True, "a correct attempt of step 3")
    read = {e.id for e in (*found.context.behaviors, *found.context.strategies, *found.context.lessons)}
    assert {c.id for c in found.choices if c.chosen and c.tier != "experience"} == read


def test_the_quarantined_do_not_crowd_out_the_others(memory: Memory, make: SimpleNamespace) -> None:
    rules = [make.behavior(f"1/behavior_{i}", text=f"zog max, way {i}") for i in range(30)]
    memory.replace_behaviors(rules, 1)
    memory.note(1, states={b.id: ["quarantined", "harm"] for b in rules[:29]})
    assert ids(recall(memory, [P], [[]])[0].behaviors) == ["1/behavior_29"]
    memory.rollback(1)
    assert memory.in_state("trial", "quarantined", "retired") == set()


def test_controls_read_another_s_memory_and_their_own_batch(filled: Memory, siblings: list[Any]) -> None:
    first, second = recall(filled, [P, Q], [siblings, []], mode="shuffled", behaviors=1)
    assert [b.text for b in first.behaviors] == ["Use vit min."] and [b.text for b in second.behaviors] == [
        "Use zog max."
    ]
    assert first.problem is P and first.strategies == () and ids(first.demonstrations) == ["3/p/2", "3/p/1"]
    assert (
        second.problem is Q and ids(second.strategies)[0] == "2/p/strategy-0" and "2/p/0" in ids(second.demonstrations)
    )
    drawn = [recall(filled, [Q], [[]], mode="random", seed=seed, strategies=1)[0] for seed in range(8)]
    assert {ids(c.strategies)[0] for c in drawn} > {ids(drawn[0].strategies)[0]}
    assert drawn[0] == recall(filled, [Q], [[]], mode="random", seed=0, strategies=1)[0]
