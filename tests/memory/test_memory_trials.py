"""Trials: what a memory does alone, and who may teach by it."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from pmd_agent.memory import HashingEmbedder, Memory, Rules, recall
from pmd_agent.memory.bank import export_bank, import_bank
from pmd_agent.memory.effects import MOST, Effects, Sums, worth
from pmd_agent.memory.trust import transitions
from pmd_agent.types import Insight, Problem

TRIAL = Rules(harmful=2.0, trial=True)
LESSON = Insight("1/p/lesson-0", "p", "lesson", "Never guess.", 0.5, (), 1, 1)
PLAIN = {"a": 0.1, "lucky": 0.1, "b": 0.3, "c": 0.5}
"""A teacher that reads nothing; `a` is right, `lucky` is right although its rule is false."""
READING = {"true": {"a": 0.5, "b": 0.3, "c": 0.2}, "false": {"a": 0.01, "b": 0.8, "c": 0.19}}
"""What it answers when it reads a rule; hardly ever what the rule contradicts."""


def told(memory: str, answer: str) -> float:
    return math.log(READING[memory].get(answer, 0.0005) / PLAIN[answer])


def tries(memory: str, count: int, seed: int = 0) -> list[float]:
    """Log-ratios of the correct ones among so many rollouts."""
    answers = random.Random(seed).choices(list(PLAIN), list(PLAIN.values()), k=count)
    return [told(memory, answer) for answer in answers if answer in ("a", "lucky")]


def summed(log_ratios: list[float]) -> Sums:
    total = Sums()
    for each in log_ratios:
        total = total.plus(worth(each))
    return total


def test_the_mean_over_correct_rollouts_is_the_ratio_of_the_chances_of_success() -> None:
    for memory, success in (("true", 0.5005), ("false", 0.0105)):
        sums = summed(tries(memory, 4000))
        assert 1 + sums.mean == pytest.approx(success / 0.2, abs=3 * sums.error) and sums.error < 0.1
    by_log = tries("true", 4000)
    assert sum(by_log) / len(by_log) < 0, "the mean logarithm would have called the true one harmful"


def test_no_rollout_decides_alone() -> None:
    assert worth(5000.0).mean == MOST - 1 and worth(-5000.0).mean == -1 and worth(0.0).mean == 0


def ledger(name: str, *log_ratios: float, state: str = "trial") -> Effects:
    s = summed(list(log_ratios))
    return Effects({0: {"tried": {name: [s.n, s.total, s.squares]}, "states": {name: [state, "bank"]}}})


UP, DOWN = math.log(5.0), math.log(0.02)


@pytest.mark.parametrize(
    ("state", "log_ratios", "becomes"),
    [
        ("trial", [UP, UP, UP, UP, DOWN], "live"),
        ("trial", [UP, UP, UP], None),  # too few
        ("trial", [UP, DOWN, DOWN, UP * 0.9], None),  # unsure
        ("trial", [DOWN, DOWN, DOWN, DOWN], "quarantined"),
        ("trial", [DOWN, DOWN, DOWN], None),
        ("trial", [0.01, 0.0101, 0.01, 0.0101] * 9, None),  # sure, and of no account
        ("trial", [-0.01, -0.0101, -0.01, -0.0101] * 9, None),
        ("live", [DOWN] * 6, "quarantined"),
        ("live", [UP] * 6, None),
        ("live", [], None),
        ("quarantined", [DOWN] * 6, None),
        ("quarantined", [UP] * 6, "live"),
        ("quarantined", [0.5, DOWN, 0.5, DOWN], None),  # not harmful for sure, not helpful either
        ("quarantined", [UP, DOWN, UP, DOWN], "trial"),  # more likely helpful than harmful
        ("quarantined", [UP], None),  # too few
    ],
)
def test_who_teaches(state: str, log_ratios: list[float], becomes: str | None) -> None:
    changed = transitions(ledger("m", *log_ratios, state=state), {"m": ["p"]}, TRIAL)
    assert {name: new for name, (new, _) in changed.items()} == ({"m": becomes} if becomes else {})
    if becomes in ("live", "quarantined"):
        assert f"{len(log_ratios)} of them" in changed["m"][1]


def test_what_was_tried_fades_and_without_trials_decides_nothing() -> None:
    old = ledger("m", *[DOWN] * 6, state="quarantined")
    s = old.tried("m")
    faded = Effects(
        {0: {"tried": {"m": [s.n, s.total, s.squares]}, "states": {"m": ["quarantined", ""]}}, 50: {}}, half_life=25
    )
    assert faded.tried("m").n == pytest.approx(1.5)
    assert transitions(faded, {"m": ["p"]}, TRIAL) == {}, "it is tried on, and returns when that says so"
    assert transitions(ledger("m", *[DOWN] * 6, state="live"), {"m": ["p"]}, Rules()) == {}


def test_the_absorbed_is_retired_until_the_student_fails_again() -> None:
    rules, about = Rules(absorbed=0.9), {"m": ["p", "q"]}
    solved = {0: {"passed": {"p": 1.0, "q": 1.0}}}
    assert transitions(Effects({0: {"passed": {"p": 1.0}}}), about, rules) == {}, "q was never seen"
    state, why = transitions(Effects(solved), about, rules)["m"]
    assert state == "retired" and "2 problems" in why
    later = {**solved, 1: {"states": {"m": [state, why]}, "passed": {"q": 0.5}}}
    assert transitions(Effects(later), about, rules)["m"] == ("live", "needed again")


def test_states_go_back_with_their_step(memory: Memory, make: SimpleNamespace) -> None:
    memory.rewrite_insights("p", [make.insight("1/p/lesson-0")])
    s = summed([DOWN] * 8)
    memory.note(1, tried={"1/p/lesson-0": [s.n, s.total, s.squares]})
    assert memory.judge(1, TRIAL) and memory.state(memory.insights("p")[0]) == "quarantined"
    assert memory.judge(1, TRIAL) == {}
    memory.rollback(1)
    assert memory.in_state("trial", "quarantined", "retired") == set() and memory.effects().tried("1/p/lesson-0").n == 0


# ---- a bank's memories


@pytest.fixture
def bank(make: SimpleNamespace, tmp_path: Path) -> Path:
    path = tmp_path / "bank.jsonl"
    with Memory.ephemeral(HashingEmbedder(64)) as full:
        full.rewrite_insights("p", [make.insight("1/p/strategy-0"), make.insight("1/p/lesson-0")])
        full.add_experiences([make.experience("1/p/0")])
        full.replace_behaviors([make.behavior("1/behavior_a"), make.behavior("1/behavior_b")], 1)
        full.note(1, states={"1/behavior_b": ["quarantined", "harm"]})
        export_bank(full, path)
    return path


def test_a_bank_is_on_trial_and_goes_back_to_it(memory: Memory, bank: Path, tmp_path: Path) -> None:
    import_bank(memory, bank, trial=True)
    problem = Problem("p", "what 1/behavior_a says")
    (found,) = recall(memory, [problem], [[]])
    assert {e.id for e in found.on_trial} == {"1/behavior_a", "1/p/strategy-0", "1/p/lesson-0"}
    assert {e.id for e in found.quarantined} == {"1/behavior_b"}
    context = found.context
    assert not (context.behaviors or context.strategies or context.lessons) and context.demonstrations
    assert any(c.id == "1/behavior_a" and not c.chosen and "not yet shown to help" in c.why for c in found.choices)

    s = summed([UP] * 4)
    memory.note(3, tried={"1/behavior_a": [s.n, s.total, s.squares]})
    assert set(memory.judge(3, TRIAL)) == {"1/behavior_a"}
    (found,) = recall(memory, [problem], [[]])
    assert [b.id for b in found.context.behaviors] == ["1/behavior_a"] and len(found.on_trial) == 2
    again = tmp_path / "again.jsonl"
    export_bank(memory, again)
    assert again.read_text().count('"state": "live"') == bank.read_text().count('"state": "live"') == 4
    memory.rollback(3)
    assert memory.effects().state("1/behavior_a") == "trial"


def test_what_trials_found_harmful_stays_away_in_a_run_without_trials(memory: Memory, tmp_path: Path) -> None:
    with Memory.ephemeral(HashingEmbedder(64)) as full:
        full.rewrite_insights("p", [LESSON])
        s = summed([DOWN] * 8)
        full.note(1, tried={LESSON.id: [s.n, s.total, s.squares]})
        assert full.judge(1, TRIAL)[LESSON.id][0] == "quarantined"
        export_bank(full, tmp_path / "a.jsonl")
    import_bank(memory, tmp_path / "a.jsonl")
    for step in range(3):
        memory.note(step, passed={"p": 0.5})
        assert memory.judge(step, Rules()) == {}
    assert memory.in_state("quarantined") == {LESSON.id}


def test_nor_does_one_return_of_which_nothing_is_known() -> None:
    away = Effects({0: {"states": {"m": ["quarantined", "in the bank a.jsonl"]}}})
    assert transitions(away, {"m": ["p"]}, Rules()) == {}


def test_a_retired_memory_of_a_bank_is_tried_too(memory: Memory, tmp_path: Path) -> None:
    with Memory.ephemeral(HashingEmbedder(64)) as full:
        full.rewrite_insights("p", [LESSON])
        full.note(1, states={LESSON.id: ["retired", "the student solves its problem"]})
        export_bank(full, tmp_path / "a.jsonl")
    import_bank(memory, tmp_path / "a.jsonl", trial=True)
    assert memory.in_state("trial") == {LESSON.id} and memory.judge(0, TRIAL) == {}


def test_what_is_archived_is_in_no_state(memory: Memory, bank: Path) -> None:
    import_bank(memory, bank, trial=True)
    memory.replace_behaviors([], 3)
    assert memory.in_state("trial", "quarantined") == {"1/p/strategy-0", "1/p/lesson-0"}


def test_without_trials_a_bank_is_read_at_once(memory: Memory, bank: Path) -> None:
    import_bank(memory, bank)
    assert not memory.effects().ids("trial")
    (found,) = recall(memory, [Problem("p", "what 1/behavior_a says")], [[]])
    assert found.context.behaviors and found.context.strategies and not found.on_trial
