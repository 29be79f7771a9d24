"""The world in the box."""

from __future__ import annotations

from collections import Counter

import pytest

from pmd_agent.errors import ProblemError
from pmd_agent.problems.world import RULES, SYSTEM, Expression, World, apply_rule, problem_text, solution_text
from pmd_agent.types import Problem
from pmd_agent.verifiers import Exact

CHAIN = Expression(("37", "14", "52"), ("zog", "vit"))


@pytest.mark.parametrize(
    ("rule", "left", "right", "result"),
    [
        ("add", "37", "14", "41"),
        ("add", "99", "01", "90"),
        ("sub", "37", "14", "23"),
        ("sub", "14", "37", "87"),
        ("rev", "37", "14", "87"),
        ("rev", "14", "37", "23"),
        ("mul", "37", "14", "38"),
        ("mul", "99", "90", "10"),
        ("max", "37", "14", "37"),
        ("max", "08", "30", "38"),
        ("min", "37", "14", "14"),
        ("min", "08", "30", "00"),
    ],
)
def test_rules_by_hand(rule: str, left: str, right: str, result: str) -> None:
    assert apply_rule(rule, left, right) == result


def test_every_rule_is_tried_above() -> None:
    assert set(RULES) == {"add", "sub", "rev", "mul", "max", "min"}


def test_a_chain_by_hand() -> None:
    meaning = {"zog": "max", "vit": "add"}
    assert str(CHAIN) == "( 37 zog 14 ) vit 52"
    assert CHAIN.steps(meaning) == [("zog", "max", "37", "14", "37"), ("vit", "add", "37", "52", "89")]
    assert CHAIN.value(meaning) == "89"
    assert CHAIN.value({"zog": "rev", "vit": "mul"}) == apply_rule("mul", "87", "52") == "04"
    assert problem_text("mill", CHAIN) == "In the mill, compute ( 37 zog 14 ) vit 52."
    assert solution_text(CHAIN, meaning) == (
        "<reasoning> Use zog max: 37 zog 14 = 37. Use vit add: 37 vit 52 = 89. </reasoning>\n<answer> 89 </answer>"
    )


def test_everything_follows_from_the_seed() -> None:
    def made(seed: int) -> tuple[World, tuple[tuple[Problem, ...], ...]]:
        world = World.create(seed)
        return world, world.split(train=20, validation=5, test=10)

    assert made(0) == made(0)
    first, second = made(0), made(1)
    assert first[0].meaning != second[0].meaning
    assert {p.prompt for p in first[1][0]} != {p.prompt for p in second[1][0]}


def test_a_world_by_its_number_stays_what_it_is() -> None:
    """Published results name the seed. If this fails, they are of another world."""
    world = World.create(0)
    assert dict(list(world.meaning.items())[:3]) == {"lud": "rev", "kip": "add", "sel": "max"}
    (problem,) = world.problems(1, operators=2, split="train")
    assert (problem.prompt, problem.answer) == ("In the field, compute ( 37 rud 11 ) hup 37.", "00")


def test_operators_are_dealt_to_the_domains() -> None:
    world = World.create(3, operators=10, domains=4)
    dealt = [operator for operators in world.domains.values() for operator in operators]
    assert sorted(dealt) == sorted(world.meaning) and len(set(dealt)) == 10
    assert sorted(map(len, world.domains.values())) == [2, 2, 3, 3]
    assert set(world.meaning.values()) <= set(RULES)


def test_parts_have_their_sizes_and_share_nothing() -> None:
    train, validation, test = World.create(0, operators=4, domains=2).split(train=300, validation=40, test=200)
    assert Counter(p.kind for p in train) == {"2op": 300}
    assert Counter(p.kind for p in validation) == {"1op": 40, "2op": 40}
    assert Counter(p.kind for p in test) == {"1op": 200, "2op": 200}
    every = [*train, *validation, *test]
    assert len({p.prompt for p in every}) == len({p.id for p in every}) == 780


def test_excluded_texts_do_not_come_again() -> None:
    world = World.create(0)
    first = world.problems(50, operators=1, split="a")
    forbidden = {p.prompt for p in first[:25]}
    again = world.problems(50, operators=1, split="a", exclude=forbidden)
    assert forbidden.isdisjoint(p.prompt for p in again)
    assert [p.id for p in again] == [p.id for p in first]


def test_a_problem_is_about_its_domains_operators_and_its_answer_is_the_value() -> None:
    world = World.create(5)
    for problem in world.problems(40, operators=2, split="train"):
        words = problem.prompt.removesuffix(".").replace("(", "").replace(")", "").split()
        domain, (a, first, b, second, c) = words[2].removesuffix(","), words[4:]
        assert {first, second} <= set(world.domains[domain])
        middle = apply_rule(world.meaning[first], a, b)
        assert problem.answer == apply_rule(world.meaning[second], middle, c)
        assert problem.system == SYSTEM
        steps = [(first, a, b, middle), (second, middle, c, problem.answer)]
        assert problem.data == {"domain": domain, "operators": (first, second), "steps": steps}


def test_every_domain_comes_as_often() -> None:
    counts = Counter(p.data["domain"] for p in World.create(0).problems(40, operators=1, split="test"))
    assert set(counts.values()) == {10}


def test_the_verifier_takes_the_true_solution_and_mostly_no_other() -> None:
    world, verifier = World.create(0), Exact()
    lucky = 0
    for problem in world.problems(60, operators=1, split="test"):
        words = problem.prompt.removesuffix(".").split()
        expression = Expression((words[4], words[6]), (words[5],))
        assert verifier.verify(problem, solution_text(expression, world.meaning)).correct
        other = {operator: "add" if rule != "add" else "mul" for operator, rule in world.meaning.items()}
        lucky += bool(verifier.verify(problem, solution_text(expression, other)).correct)
    assert lucky < 10


@pytest.mark.parametrize(("operators", "domains"), [(2, 8), (3, 4), (4, 0)])
def test_a_domain_without_operators_cannot_be(operators: int, domains: int) -> None:
    with pytest.raises(ProblemError, match="cannot fill"):
        World.create(0, operators=operators, domains=domains)


def test_more_problems_than_there_are_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(ProblemError, match="too few problems") as error:
        World.create(0, operators=2, domains=2).problems(50_000, operators=1, split="test")
    assert error.value.hint


def test_unseen_pairs_are_in_no_training_problem_and_in_every_new_one() -> None:
    world = World.create(5)
    train, validation, test = world.split(train=256, validation=8, test=40, unseen_pairs=0.25)
    new = world.new_pairs(0.25)
    assert len(new) == 16, "a quarter of four domains' sixteen pairs"
    assert not new & {p.data["operators"] for p in train}
    assert Counter(p.kind for p in test) == {"1op": 40, "2op": 40, "2op-new": 40}
    for problem in (*validation, *test):
        assert (problem.data["operators"] in new) is (problem.kind == "2op-new")
    assert len({p.prompt for p in (*train, *validation, *test)}) == 256 + 24 + 120


def test_a_drift_changes_so_many_meanings_from_the_second_half_on() -> None:
    world = World.create(5)
    drifted = world.drifted(0.5)
    changed = {op for op, rule in world.meaning.items() if drifted.meaning[op] != rule}
    assert len(changed) == 8 and drifted.domains == world.domains and drifted == world.drifted(0.5)
    before = world.split(train=64, validation=8, test=40, unseen_pairs=0.25)
    after = world.split(train=64, validation=8, test=40, unseen_pairs=0.25, drift=0.5)
    for old, new in zip(before, after, strict=True):
        assert [(p.id, p.prompt) for p in old] == [(p.id, p.prompt) for p in new]
    assert after[0][:32] == before[0][:32]
    late = [*zip(before[0][32:], after[0][32:], strict=True), *zip(before[2], after[2], strict=True)]
    for old, new in late:
        assert old.answer == new.answer or changed & set(new.data["operators"])
    assert sum(old.answer != new.answer for old, new in late) > len(late) / 3


def test_without_unseen_pairs_the_world_is_as_it_was() -> None:
    problems = World.create(0).problems(3, operators=2, split="train")
    assert [p.id for p in problems] == [f"world/0/train/2op/000{i}" for i in range(3)]
    assert problems[0].prompt == "In the field, compute ( 37 rud 11 ) hup 37."
