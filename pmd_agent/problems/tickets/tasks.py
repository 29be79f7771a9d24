"""What is to be done at the desk: problems of three kinds, from a ticket that is only opened to one that is closed."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.split import Split
from pmd_agent.problems.tickets.desk import CHANNELS, DOCUMENTATION, TEAMS
from pmd_agent.problems.tickets.quirks import Quirks
from pmd_agent.types import Problem

SYSTEM = (
    "You work at a service desk. You make one call a turn, on a line of its own:\n"
    'call NAME {"argument": value}\n'
    "The system answers each call with ok, or with an error's number. Its calls:\n\n"
    f"{DOCUMENTATION}\n\n"
    "When all is done, say: done"
)
KINDS = ("open", "assign", "close")
NAMES = "Amsel Brandt Cohen Diaz Eriks Fuchs Gil Haas Ito Jansen Klee Lund Mora Noll Okoro Paz Quist Rossi Sato Tran".split()
SUBJECTS = (
    "the screen stays dark", "mails do not arrive", "the password has expired", "paper is jammed", "the invoice is wrong",
    "the line is slow", "a key is stuck", "the form cannot be sent", "the name is misspelt", "the door reader beeps",
)  # fmt: skip
MINUTES = (30, 60, 120, 240, 480)


def load(*, seed: int, train: int, validation: int, test: int, drift: float) -> Split:
    """Tasks at the desk of this seed. With `drift`, all but the first half of training is after the change. Raises ProblemError."""
    before = Quirks.drawn(seed)
    after = before.drifted(seed, drift) if drift else before
    seen: set[str] = set()
    trained = _tasks(seed, "train", train, before, seen, kinds=KINDS)
    if drift:
        changed = _tasks(seed, "train", train, after, set(), kinds=KINDS)
        trained = trained[: train // 2] + changed[train // 2 :]
    validated, tested = (
        tuple(p for kind in KINDS for p in _tasks(seed, split, count, after, seen, kinds=(kind,)))
        for split, count in (("validation", validation), ("test", test))
    )
    return Split(trained, tested, validation=validated)


def _tasks(
    seed: int, split: str, count: int, quirks: Quirks, seen: set[str], *, kinds: Collection[str]
) -> tuple[Problem, ...]:
    """`count` tasks, of these kinds in turn; their texts are added to `seen`, and are not there yet."""
    rng = random.Random(f"tickets/{seed}/{split}/{'-'.join(kinds)}")
    found: list[Problem] = []
    tries = 0
    while len(found) < count:
        tries += 1
        if tries > 50 * count + 1000:
            raise ProblemError(
                f"There are not {count} different tasks for {split}.", "Lower problems.train, validation or test."
            )
        kind = list(kinds)[len(found) % len(kinds)]
        goals = _goals(rng, kind)
        text = _text(goals)
        if text in seen:
            continue
        seen.add(text)
        found.append(
            Problem(
                id=f"tickets/{seed}/{split}/{kind}/{len(found):04d}",
                prompt=text,
                system=SYSTEM,
                kind=kind,
                data={"goals": goals, "quirks": quirks.plain()},
            )
        )
    return tuple(found)


def _goals(rng: random.Random, kind: str) -> dict[str, Any]:
    goals: dict[str, Any] = {
        "customer": rng.choice(NAMES),
        "channel": rng.choice(CHANNELS),
        "subject": rng.choice(SUBJECTS),
        "urgency": rng.choice(("urgent", "low")),
    }
    if kind != "open":
        goals |= {"team": rng.choice(TEAMS), "minutes": rng.choice(MINUTES)}
    if kind == "close":
        goals |= {"note": "It works again.", "closed": True}
    return goals


def _text(goals: dict[str, Any]) -> str:
    said = (
        f"{goals['customer']} comes by {goals['channel']}: {goals['subject']}. "
        f"Open {'an urgent' if goals['urgency'] == 'urgent' else 'a low-priority'} ticket"
    )
    if "team" in goals:
        said += f", log the {goals['minutes']} minutes that you spent on it, and hand it to the team {goals['team']}"
    if goals.get("closed"):
        said += f'. It was easy: leave the note "{goals["note"]}" and close the ticket'
    return f"{said}."
