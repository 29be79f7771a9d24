"""An office with conventions that no task states."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_agent.errors import ProblemError
from pmd_agent.problems import load_problems
from pmd_agent.problems.house_rules import MENU, Convention, Office, Rule, chosen
from pmd_agent.problems.house_rules.office import DEPARTMENTS, task
from pmd_agent.recipe.problems import HouseRulesProblems
from pmd_agent.types import Problem
from pmd_agent.verifiers import Parts

SEEDS = st.integers(0, 10**6)
EACH = pytest.mark.parametrize("convention", MENU, ids=lambda c: c.name)


def asked(convention: Convention, form: int, seed: int) -> Problem:
    return task(random.Random(seed), [Rule("sales", convention, convention.forms[form])], f"p{seed}", "one")


def said(problem: Problem, answer: str) -> str:
    return Parts().verify(problem, f"<answer>{answer}</answer>").feedback


def test_the_menu_has_at_least_sixteen_conventions_of_several_forms_each() -> None:
    assert len(MENU) >= 16 and len({c.name for c in MENU}) == len(MENU)
    for convention in MENU:
        assert len(convention.forms) >= 3 and len({f.name for f in convention.forms}) == len(convention.forms)
        assert convention.form(convention.habit) is convention.forms[0]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("date", ["2021-03-05", "05.03.2021", "03/05/2021", "2021/03/05"]),
        ("time", ["9:30 PM", "21:30", "2130h", "21h30"]),
        ("price", ["$7.25", "USD 7.25", "7.25 USD", "US$7.25"]),
        ("weight", ["5 kg", "5kg", "5000 g", "5.0 kg"]),
        ("status", ["88: done", "DONE 88", "[done] 88", "88=done"]),
    ],
)
def test_forms_by_hand(name: str, answers: list[str]) -> None:
    convention = next(c for c in MENU if c.name == name)
    assert convention.example is not None
    assert [form.write(convention.example) for form in convention.forms] == answers


@EACH
@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_what_a_form_writes_is_right_and_what_the_others_write_is_wrong(convention: Convention, seed: int) -> None:
    answers = [asked(convention, i, seed).answer or "" for i in range(len(convention.forms))]
    for i in range(len(convention.forms)):
        problem = asked(convention, i, seed)
        for j, answer in enumerate(answers):
            verdict = Parts().verify(problem, f"<answer>{answer}</answer>")
            assert verdict.correct is (i == j) and verdict.reward == float(i == j), (answer, problem.answer)
            assert bool(verdict.feedback) is (i != j)


@EACH
@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_message_names_the_fault_and_never_the_form(convention: Convention, seed: int) -> None:
    for i, form in enumerate(convention.forms):
        problem = asked(convention, i, seed)
        for other in range(len(convention.forms)):
            if other == i:
                continue
            message = said(problem, asked(convention, other, seed).answer or "")
            assert message.startswith(f"The {convention.label} ") and message.endswith(".")
            assert message != f"The {convention.label} is not right.", "a form that is not the right one has a fault"
            words = set(message.removesuffix(".").split())
            assert (problem.answer or "") not in words and (
                len(problem.answer or "") < 3 or problem.answer not in message
            )
            assert form.how not in message and not re.search(r"\d|[$%°#&+=/@\[\]_]", message)
            named = {w for w in re.findall(r"[A-Za-z$]+", form.how) if w.isupper() and len(w) > 1}
            assert not named & words, "no code of the form's own"


@EACH
def test_of_what_has_all_a_form_demands_but_another_value_only_that_it_is_wrong_is_said(convention: Convention) -> None:
    for i in range(len(convention.forms)):
        problem, other = (
            asked(convention, i, 1),
            next(p for s in range(2, 200) if (p := asked(convention, i, s)).answer != asked(convention, i, 1).answer),
        )
        assert said(problem, other.answer or "") == f"The {convention.label} is not right."


@EACH
def test_rules_read_as_sentences_and_tell_the_forms_apart(convention: Convention) -> None:
    rules = [str(Rule("legal", convention, form)) for form in convention.forms]
    assert len(set(rules)) == len(rules)
    for form, rule in zip(convention.forms, rules, strict=True):
        assert rule.startswith(
            f"The legal department writes {'an' if convention.label == 'order' else 'a'} {convention.label} "
        ) and rule.endswith(".")
        assert convention.example is None or form.write(convention.example) in rule
        assert "  " not in rule and "{" not in rule


@EACH
def test_a_task_says_nothing_of_the_form(convention: Convention) -> None:
    texts = {asked(convention, i, 7).prompt for i in range(len(convention.forms))}
    assert len(texts) == 1
    (text,) = texts
    assert text.startswith("For the sales department: write down ") and text.endswith(".")


def test_everything_follows_from_the_seed() -> None:
    def made(seed: int) -> object:
        office = Office.create(seed)
        return office.rules, office.split(train=20, validation=2, test=4, hard=0.5, unseen_pairs=0.25)

    assert made(0) == made(0) and made(0) != made(1)


def test_an_office_by_its_number_stays_what_it_is() -> None:
    """Published results name the seed. If this fails, they are of another office."""
    office = Office.create(0)
    assert [(r.department, r.convention.name, r.form.name) for r in office.rules[:3]] == [
        ("sales", "temperature", "degree"),
        ("sales", "file", "hyphen"),
        ("sales", "room", "slash"),
    ]
    problem = office.problems(1, [(office.rules[0],)], kind="one", split="train")[0]
    assert (problem.prompt, problem.answer) == (
        "For the sales department: write down a temperature of 39 degrees Celsius.",
        "39°C",
    )


def test_departments_share_conventions_and_differ_in_their_forms() -> None:
    office = Office.create(3, departments=4, rules=8, habit=0.0)
    assert len(office.rules) == 32 and len({r.department for r in office.rules}) == 4
    assert all(
        len({r.convention.name for r in office.rules if r.department == d}) == 8
        for d in DEPARTMENTS
        if d in {r.department for r in office.rules}
    )
    forms: dict[str, list[str]] = {}
    for rule in office.rules:
        assert rule.form.name != rule.convention.habit
        forms.setdefault(rule.convention.name, []).append(rule.form.name)
    shared = [names for names in forms.values() if 1 < len(names) <= 3]
    assert shared and all(len(set(names)) == len(names) for names in shared)


@pytest.mark.parametrize("habit", [0.0, 0.25, 0.5, 1.0])
def test_a_share_of_the_rules_is_the_models_own_habit(habit: float) -> None:
    rules = Office.create(5, departments=4, rules=8, habit=habit).rules
    assert sum(r.form.name == r.convention.habit for r in rules) == round(habit * 32)


def test_parts_have_their_sizes_and_share_nothing() -> None:
    train, validation, test = Office.create(2).split(train=100, validation=8, test=40, hard=0.5, unseen_pairs=0.25)
    assert Counter(p.kind for p in train) == {"one": 50, "two": 50}
    assert Counter(p.kind for p in test) == {"one": 40, "two": 40, "two-new": 40}
    assert Counter(p.kind for p in validation) == {"one": 8, "two": 8, "two-new": 8}
    every = [*train, *validation, *test]
    assert len({p.prompt for p in every}) == len({p.id for p in every}) == len(every)
    assert {p.kind for p in train[:4]} == {"one", "two"}, "both kinds from the first on"


def test_unseen_pairs_are_never_practised_but_each_of_their_rules_is() -> None:
    office = Office.create(4)
    train, _, test = office.split(train=200, validation=0, test=40, hard=0.5, unseen_pairs=0.25)

    def pairs(problems: tuple[Problem, ...], kind: str) -> set[tuple[str, frozenset[str]]]:
        return {(p.data["department"], frozenset(p.data["conventions"])) for p in problems if p.kind == kind}

    assert pairs(test, "two-new") and not pairs(test, "two-new") & pairs(train, "two")
    assert not pairs(test, "two") & pairs(test, "two-new")
    ones = {(p.data["department"], p.data["conventions"][0]) for p in train if p.kind == "one"}
    assert ones == {(r.department, r.convention.name) for r in office.rules}


def test_two_parts_are_told_of_apart() -> None:
    menu = {c.name: c for c in MENU}
    rules = [
        Rule("press", menu["weight"], menu["weight"].form("joined")),
        Rule("press", menu["ticket"], menu["ticket"].form("t")),
    ]
    problem = task(random.Random(3), rules, "p", "two")
    weight, ticket = (problem.answer or "").split("; ")
    assert problem.prompt.endswith(", with a semicolon in between.")
    assert Parts().verify(problem, f"<answer>{weight};{ticket}</answer>").correct
    assert (
        said(problem, f"{weight[:-2]} kg; {ticket}")
        == "The weight has a blank where none is allowed. The reference is right."
    )
    assert said(problem, weight) == "The answer has 1 part instead of 2; a semicolon divides them."


def test_a_drifted_office_has_other_forms_for_so_many_rules() -> None:
    office = Office.create(6)
    after = office.drifted(0.5)
    changed = [a != b for a, b in zip(office.rules, after.rules, strict=True)]
    assert sum(changed) == 16
    assert all(
        (a.department, a.convention) == (b.department, b.convention)
        for a, b in zip(office.rules, after.rules, strict=True)
    )


def test_with_drift_the_second_half_and_the_tests_are_of_the_changed_office() -> None:
    office, after = Office.create(1), Office.create(1).drifted(1.0)
    options = {"train": 64, "validation": 2, "test": 8, "hard": 0.5, "unseen_pairs": 0.0}
    train, _, test = office.split(**options, drift=1.0)
    rules, changed = set(map(str, office.rules)), set(map(str, after.rules))
    assert all(set(p.data["rules"]) <= rules for p in train[:32])
    assert all(set(p.data["rules"]) <= changed for p in (*train[32:], *test)) and not rules & changed


def test_conventions_and_single_forms_can_be_chosen() -> None:
    menu = chosen(MENU, ["weight", "date/iso", "date/points"])
    assert [(c.name, [f.name for f in c.forms]) for c in menu] == [
        ("date", ["iso", "points"]), ("weight", ["blank", "joined", "grams", "decimal"])
    ]  # fmt: skip
    assert chosen(MENU, []) == MENU
    only = Office.create(0, departments=2, rules=2, conventions=["date/points", "weight/grams"], habit=1.0)
    assert {r.form.name for r in only.rules} == {"points", "grams"}, "a habit that was left out is nobody's form"


@pytest.mark.parametrize("name", ["dat", "date/isoo"])
def test_an_unknown_name_is_told_with_those_there_are(name: str) -> None:
    with pytest.raises(ProblemError, match=r"problems\.conventions") as error:
        chosen(MENU, [name])
    assert "date" in error.value.hint


def test_too_few_conventions_or_tasks_are_an_error_and_no_endless_search() -> None:
    with pytest.raises(ProblemError, match="do not give 8"):
        Office.create(0, rules=8, conventions=["date", "time"])
    office = Office.create(0, departments=1, rules=2, conventions=["guests/and", "status/colon"])
    with pytest.raises(ProblemError, match="too few tasks"):
        office.problems(5000, [(office.rules[0],)], kind="one", split="test")


def test_a_recipes_section_loads_them() -> None:
    sets = load_problems(HouseRulesProblems(train=32, test=4, validation=2, departments=2, rules=3))
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (32, 6, 12)
