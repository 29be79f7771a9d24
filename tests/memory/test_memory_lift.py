"""Lift: unbiased, honest about its error, and what follows from it."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from pmd_agent.memory import Memory, Rules
from pmd_agent.memory.effects import Effects, Evidence, Seen, Sums, observations
from pmd_agent.memory.trust import transitions
from pmd_agent.stages.draw import Teaching, draw
from pmd_agent.types import Problem, Rollout, TeacherContext, Verdict

EFFECTS = {"good": (0.2, -0.1), "bad": (-0.2, 0.1), "idle": (0.0, 0.0), "vague": (-0.1, -0.2)}
"""What reading adds to the gain of a correct rollout, and of a wrong one."""


def simulated(seed: int, steps: int = 60, p: float = 0.7) -> dict[str, Evidence]:
    """Problems that differ far more than memories matter, and memories that work side by side."""
    rng = random.Random(seed)
    found: dict[str, Evidence] = {}
    for _ in range(steps):
        seen = []
        for problem in range(4):
            base = rng.gauss(0, 3)
            for _ in range(8):
                correct = rng.random() < 0.4
                inside = {name: rng.random() < p for name in EFFECTS}
                gain = base + rng.gauss(0, 0.1) + sum(EFFECTS[n][not correct] for n, read in inside.items() if read)
                shown = {n: p for n, read in inside.items() if read}
                seen.append(Seen(f"p{problem}", correct, gain, shown, {n: p for n in EFFECTS if n not in shown}))
        # Only groups: a lone correct rollout is compared with other problems' and is mostly noise here.
        for name, evidence in observations(seen).items():
            found[name] = found.get(name, Evidence()).plus(evidence)
    return found


def test_the_estimate_is_the_effect_within_its_error() -> None:
    far = 0
    for seed in range(10):
        for name, evidence in simulated(seed).items():
            right, wrong = EFFECTS[name]
            for sums, truth in ((evidence.right, right), (evidence.wrong, wrong)):
                far += abs(sums.mean - truth) > 2 * sums.error
            assert evidence.lift == pytest.approx(right - wrong, abs=4 * evidence.error)
    assert far <= 10, "of 80 estimates about 4 are farther off than two standard errors"
    assert simulated(0)["good"].lift > 0 > simulated(0)["bad"].lift


def test_nothing_is_observed_where_nothing_was_left_to_chance() -> None:
    alone = Seen("p", True, 1.0, {"a": 0.5}, {})
    assert observations([alone]) == observations([]) == {}
    always = [Seen("p", True, gain, {"a": 1.0}, {"b": 0.0}) for gain in (0.0, 1.0)]
    assert observations(always) == {}


def test_one_observation_by_hand() -> None:
    seen = [
        Seen("p", True, 1.0, {"a": 0.8}, {}),
        Seen("p", True, 0.0, {}, {"a": 0.8}),
        Seen("p", False, 9.0, {"a": 0.8}, {}),
    ]
    # (1 - 0.5) * 2 / 0.8 and (0 - 0.5) * 2 * -1 / 0.2; the wrong one is alone
    (evidence,) = observations(seen).values()
    assert evidence.right.n == 2 and evidence.right.total == pytest.approx(1.25 + 5.0) and evidence.wrong == Sums()


def ledger(**lift: tuple[float, float, int]) -> dict[int, dict[str, object]]:
    """Name -> mean and spread of the observed effects on correct rollouts, and how many; nothing on wrong ones."""

    def sums(mean: float, spread: float, n: int) -> list[float]:
        return [n, mean * n, (mean**2) * n + spread**2 * (n - 1), n, 0.0, 0.0]

    return {0: {"lift": {name: sums(*given) for name, given in lift.items()}}}


def test_the_harmful_is_quarantined_and_what_is_not_sure_stays() -> None:
    effects = Effects(ledger(bad=(-0.5, 1.0, 100), unsure=(-0.1, 1.0, 100), few=(-0.5, 0.1, 7), good=(0.5, 1.0, 100)))
    about = {name: ["p"] for name in ("bad", "unsure", "few", "good", "new")}
    changed = transitions(effects, about, Rules(harmful=2.0, least=16))
    assert set(changed) == {"bad"} and changed["bad"][0] == "quarantined" and "-0.5000 ± 0.1000" in changed["bad"][1]
    assert transitions(effects, about, Rules(harmful=None)) == {}


def test_the_quarantined_returns_when_it_helps_or_the_evidence_fades() -> None:
    away = {"states": {"m": ["quarantined", "harm"]}}
    bad, good = ledger(m=(-0.5, 1.0, 100))[0], ledger(m=(0.9, 1.0, 100))[0]
    rules, about = Rules(least=16), {"m": ["p"]}
    assert transitions(Effects({0: bad | away}), about, rules) == {}
    assert transitions(Effects({0: bad | away, 9: good}), about, rules)["m"][0] == "live"
    faded = Effects({0: bad | away, 100: {}}, half_life=20)
    assert faded.of("m").n < 16 and transitions(faded, about, rules)["m"][0] == "live"


def test_the_absorbed_is_retired_until_the_student_fails_again() -> None:
    rules, about = Rules(absorbed=0.9), {"m": ["p", "q"]}
    solved = {0: {"passed": {"p": 1.0, "q": 1.0}}}
    assert transitions(Effects({0: {"passed": {"p": 1.0}}}), about, rules) == {}, "q was never seen"
    state, why = transitions(Effects(solved), about, rules)["m"]
    assert state == "retired" and "2 problems" in why
    later = {**solved, 1: {"states": {"m": [state, why]}, "passed": {"q": 0.5}}}
    assert transitions(Effects(later), about, rules)["m"] == ("live", "needed again")


# ---- the draw


def context(make: SimpleNamespace) -> TeacherContext:
    return TeacherContext(
        Problem("p", "x"),
        behaviors=tuple(make.behavior(f"1/b{i}") for i in range(3)),
        strategies=(make.insight("1/p/strategy-0"),),
        lessons=(make.insight("1/p/lesson-0"),),
        demonstrations=(make.experience("1/p/0"),),
        feedback={"3/p/0": "wrong"},
    )


def test_memories_are_left_out_as_often_as_asked_and_the_same_each_time(make: SimpleNamespace) -> None:
    whole, probation = context(make), [(make.behavior("1/bad"), 0.2), (make.insight("1/p/lesson-9"), 0.6)]
    options = {"leave_out": 0.25, "leave_out_tier": 0.1}
    draws = [draw(whole, probation, seed=str(i), **options) for i in range(2_000)]
    assert draws[:9] == [draw(whole, probation, seed=str(i), **options) for i in range(9)]

    def share(name: str) -> float:
        return sum(name in d.shown for d in draws) / sum(name in d.shown or name in d.hidden for d in draws)

    assert share("1/b0") == pytest.approx(0.75, abs=0.04) and share("1/p/lesson-0") == pytest.approx(0.75, abs=0.04)
    assert share("tier:behavior") == pytest.approx(0.9, abs=0.03) and share("1/bad") == pytest.approx(0.2, abs=0.04)
    assert share("1/p/lesson-9") == pytest.approx(0.6, abs=0.04)
    for each in draws:
        found = each.context
        names = {e.id for e in (*found.behaviors, *found.strategies, *found.lessons)}
        assert names == {name for name in each.shown if not name.startswith("tier:")}
        assert "tier:behavior" in each.shown or not found.behaviors
        assert bool(found.demonstrations) == ("tier:experience" in each.shown)
        assert found.feedback == whole.feedback and found.problem == whole.problem
    assert draw(whole, [(e, 0.0) for e, _ in probation], leave_out=0, leave_out_tier=0, seed="").context == whole


def test_what_was_offered_counts_whether_or_not_it_fitted(make: SimpleNamespace) -> None:
    rollouts = [Rollout(f"3/p/{i}", "p", (), (), (), (), "", "stop", 0) for i in range(2)]
    teaching = Teaching()
    for rollout, gain in zip(rollouts, (1.0, 0.0), strict=True):
        teaching.draws[rollout.id] = draw(context(make), [], leave_out=0.5, leave_out_tier=0, seed="7")
        teaching.gains[rollout.id] = gain
        teaching.read[rollout.id] = ("1/b0",)
    found = teaching.observed([rollouts], [[Verdict(1.0, True), Verdict(1.0, True)]])
    drawn = teaching.draws["3/p/0"]
    assert set(found) == {*drawn.hidden, *drawn.shown} and set(drawn.shown) - {"1/b0"}
    assert teaching.uses() == {"1/b0": 2}
    assert teaching.observed([rollouts], [[Verdict(None, None), Verdict(None, None)]]) == {}


def test_states_go_back_with_their_step(memory: Memory, make: SimpleNamespace) -> None:
    memory.rewrite_insights("p", [make.insight("1/p/lesson-0")])
    memory.note(1, lift=ledger(**{"1/p/lesson-0": (-0.5, 1.0, 100)})[0]["lift"])
    assert memory.judge(1, Rules()) and memory.state(memory.insights("p")[0]) == "quarantined"
    assert memory.judge(1, Rules()) == {}
    memory.rollback(1)
    assert memory.in_state("trial", "quarantined", "retired") == set() and memory.effects().of("1/p/lesson-0").n == 0
