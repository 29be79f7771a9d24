"""Budgets and ages: who leaves, and that rollback brings them back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pmd_agent.memory import Limits, Memory


def live(memory: Memory, tier: str) -> list[str]:
    return sorted(entry.id for entry in memory.list(tier))  # type: ignore[arg-type]


def test_failed_attempts_leave_first_and_the_newest_success_of_a_problem_last(
    memory: Memory, make: SimpleNamespace
) -> None:
    for step in (1, 2):
        memory.add_experiences(
            [
                make.experience(f"{step}/p/0"),
                make.experience(f"{step}/p/1", correct=False),
                make.experience(f"{step}/q/0"),
            ]
        )
    for budget, left in [
        (5, ["1/p/0", "1/q/0", "2/p/0", "2/p/1", "2/q/0"]),
        (4, ["1/p/0", "1/q/0", "2/p/0", "2/q/0"]),
        (2, ["2/p/0", "2/q/0"]),
        (1, ["2/p/0"]),
    ]:
        memory.tidy(3, 3, Limits({"experience": budget}))
        assert live(memory, "experience") == left
    before = memory.get("1/p/1")
    assert before is not None and memory.retired_at(before) == 3 and memory.state(before) == "archived"
    memory.rollback(3)
    assert len(live(memory, "experience")) == 6


def test_insights_and_behaviors_leave_by_state_then_support(memory: Memory, make: SimpleNamespace) -> None:
    for problem, support, confidence in (("a", 1, 0.9), ("b", 3, 0.1), ("c", 1, 0.2), ("d", 9, 0.9)):
        memory.rewrite_insights(
            problem, [make.insight(f"1/{problem}/strategy-0", support=support, confidence=confidence)]
        )
    memory.replace_behaviors([make.behavior(f"1/behavior_{n}", support=n) for n in (5, 2, 9)], 1)
    memory.note(1, states={"1/d/strategy-0": ["quarantined", "harm"], "1/behavior_9": ["quarantined", "harm"]})
    gone = memory.tidy(2, 2, Limits({"insight": 2, "behavior": 1}))
    assert gone == {"insight": 2, "behavior": 2}
    assert live(memory, "insight") == ["1/a/strategy-0", "1/b/strategy-0"]
    assert live(memory, "behavior") == ["1/behavior_5"]


@pytest.mark.parametrize("limits", [Limits(max_steps=7), Limits(max_versions=7), Limits({"behavior": 9}, max_steps=7)])
def test_what_a_bank_brought_is_as_old_as_the_run(memory: Memory, make: SimpleNamespace, limits: Limits) -> None:
    old, new = make.insight("0/p/lesson-0", step=50, policy_version=50), make.insight("2/p/lesson-1", policy_version=2)
    memory.put("insight", [old], [], step=-1)
    memory.put("behavior", [make.behavior("0/behavior_a", step=50, policy_version=50)], [], step=-1)
    memory.rewrite_insights("p", [new])
    assert memory.tidy(6, 6, limits) == {}
    assert memory.tidy(8, 8, limits) == {"insight": 1, "behavior": 1}
    assert live(memory, "insight") == ["2/p/lesson-1"] and live(memory, "behavior") == []


def test_age_counts_from_when_a_memory_was_said_last(memory: Memory, make: SimpleNamespace) -> None:
    memory.rewrite_insights(
        "p", [make.insight("1/p/lesson-0", text="never add"), make.insight("1/p/lesson-1", text="b")]
    )
    memory.rewrite_insights("p", [make.insight("5/p/lesson-0", text="Never add", policy_version=2)])
    assert memory.tidy(8, 8, Limits(max_steps=7, max_versions=7)) == {}
    assert memory.tidy(9, 8, Limits(max_steps=7, max_versions=7)) == {"insight": 1}
    assert live(memory, "insight") == ["1/p/lesson-0"]
    assert memory.tidy(10, 10, Limits(max_versions=7)) == {"insight": 1}, "the policy that said it is of version 2"
