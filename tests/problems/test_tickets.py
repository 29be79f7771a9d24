"""The ticket system: solvable by who knows its quirks, not by who knows its documentation; drawn by seed, with drift."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pmd_agent.problems import load_problems
from pmd_agent.problems.tickets import TicketEpisode
from pmd_agent.problems.tickets.desk import Desk
from pmd_agent.problems.tickets.quirks import CHOICES, Quirks
from pmd_agent.recipe import parse_recipe
from pmd_agent.recipe.problems import TicketProblems
from pmd_agent.types import Problem


def load(**keys: Any) -> Any:
    return load_problems(TicketProblems(**keys))


def call(name: str, **arguments: Any) -> str:
    return f"I will do that.\ncall {name} {json.dumps(arguments)}"


def calls(problem: Problem, quirks: Quirks) -> Iterator[str]:
    """The replies of one who believes these quirks; ticket numbers are those of an empty system."""
    goals = problem.data["goals"]
    urgent = quirks.urgent_is if goals["urgency"] == "urgent" else 6 - quirks.urgent_is
    extra = {quirks.channel_field: goals["channel"]} if quirks.channel_field else {}
    yield call("open", customer=goals["customer"], subject=goals["subject"], priority=urgent, **extra)
    if "team" in goals:
        yield call("log", ticket=4000, time=goals["minutes"] / quirks.minutes_a_unit)
        if quirks.before_assign == "show" or ("closed" not in goals and quirks.before_assign == "note"):
            yield call(quirks.before_assign, ticket=4000, text="Soon.")
    if "closed" in goals:
        yield call("note", ticket=4000, text=goals["note"])
    if "team" in goals:
        yield call("assign", ticket=4000, team=quirks.spelt(goals["team"]))
    if "closed" in goals:
        yield call("close", ticket=4000)
    yield "Done."


def played(problem: Problem, quirks: Quirks) -> tuple[float, str, list[Any]]:
    episode = TicketEpisode()
    assert episode.start(problem) is None
    said = [episode.act(reply) for reply in calls(problem, quirks)]
    assert said[-1] is None
    return episode.reward, episode.feedback, said


@pytest.mark.parametrize("seed", range(12))
def test_who_knows_the_quirks_meets_all_goals_and_who_errs_in_one_does_not(seed: int) -> None:
    sets = load(seed=seed, train=12, validation=1, test=2)
    quirks = Quirks.drawn(seed)
    for problem in (*sets.train, *sets.validation, *sets.test):
        assert played(problem, quirks)[0] == 1.0 and played(problem, quirks)[1] == ""
    closing = next(p for p in sets.train if p.kind == "close")
    for name in ("urgent_is", "minutes_a_unit", "channel_field", "team_form"):
        wrong = Quirks.of(quirks.plain() | {name: next(c for c in CHOICES[name] if c != getattr(quirks, name))})
        reward, feedback, _ = played(closing, wrong)
        assert reward < 1.0 and feedback


def test_the_documentation_alone_meets_no_task() -> None:
    for seed in range(20):
        problem = load(seed=seed, train=3).train[0]
        naive = Quirks.of(Quirks.drawn(seed).plain() | {"channel_field": ""})
        assert played(problem, naive)[0] == 0.0


def test_orders_are_wanted() -> None:
    quirks = Quirks.of(Quirks.drawn(0).plain() | {"before_assign": "show", "before_close": "assign"})
    desk = Desk(quirks)
    opened = {"customer": "Ito", "subject": "x", "priority": 1, quirks.channel_field: "mail"}
    assert desk.call("open", opened) == "ok: ticket 4000"
    team = {"ticket": 4000, "team": quirks.spelt("network")}
    order = f"error {quirks.codes['wrong order']}"
    assert desk.call("assign", team) == order and desk.call("close", {"ticket": 4000}) == order
    assert "Ito, by mail" in desk.call("show", {"ticket": 4000})
    assert desk.call("assign", team) == "ok: assigned" and desk.call("close", {"ticket": 4000}) == "ok: closed"
    assert desk.call("note", {"ticket": 4000, "text": "x"}) == f"error {quirks.codes['closed']}"


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("call fly {}", "unknown call"),
        ("call open", "no arguments"),
        ("call open {oops", "no arguments"),
        ("call open []", "no arguments"),
        ("call show {\"ticket\": 1}", "no such ticket"),
        ("call show {\"ticket\": [1]}", "no such ticket"),
        ("call open {\"customer\": \"A\"}", "field missing"),
        ("call open {\"customer\": 5}", "bad value"),
        ("call open " + "[" * 100_000, "no arguments"),
    ],
)  # fmt: skip
def test_whatever_is_said_has_an_answer(reply: str, fault: str) -> None:
    problem = load(train=3).train[0]
    episode = TicketEpisode()
    episode.start(problem)
    assert episode.act(f"<think>call show {{}}</think>\n{reply}") == f"error {problem.data['quirks']['codes'][fault]}"
    assert "no call" in str(episode.act("Let me see.")) and episode.reward == 0.0
    assert episode.act("**done**") is None and episode.feedback == "No ticket was opened."


def test_everything_follows_from_the_seed_and_nothing_is_there_twice() -> None:
    sets = load(seed=3)
    assert sets == load(seed=3) and sets != load(seed=4)
    texts = [p.prompt for part in (sets.train, sets.validation, sets.test) for p in part]
    assert len(set(texts)) == len(texts) == 96 + 30 + 90
    assert {p.kind for p in sets.test} == {"open", "assign", "close"}
    json.dumps([dict(p.data) for p in sets.train])
    assert all(str(Quirks.drawn(3).channel_field) not in p.system for p in sets.train)


def test_a_drift_changes_the_second_half_and_the_tests() -> None:
    sets = load(seed=1, drift=0.5, train=20)
    first, then = Quirks.drawn(1).plain(), Quirks.drawn(1).drifted(1, 0.5).plain()
    assert sum(first[name] != then[name] for name in CHOICES) == 3
    assert [p.data["quirks"] == first for p in sets.train] == [True] * 10 + [False] * 10
    assert all(p.data["quirks"] == then for p in sets.test)
    with pytest.raises(Exception, match="shuffle"):
        parse_recipe({"problems": {"type": "tickets", "drift": 0.5}})
