"""Memory -> what the teacher reads beside each problem, and why."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pmd_agent.memory.backend.codec import Entry, tier_of
from pmd_agent.memory.diversity import diverse
from pmd_agent.memory.effects import State
from pmd_agent.types import Behavior, Experience, Insight, Problem, TeacherContext, Tier

if TYPE_CHECKING:
    from pmd_agent.memory.queries import Candidate
    from pmd_agent.memory.store import Memory

Mode = Literal["relevant", "random", "shuffled"]
Feedback = Literal["always", "without_solution", "never"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of one memory that could have been recalled."""

    id: str
    tier: Tier
    chosen: bool
    why: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """What one problem's teacher may read; the renderer drops what does not fit its budget."""

    context: TeacherContext
    choices: tuple[Choice, ...]
    """Of all tiers, those chosen and those considered."""
    quarantined: tuple[Behavior | Insight, ...] = ()
    """Those that would be in the context if only quarantined ones were there: of each kind as many as are read."""
    on_trial: tuple[Behavior | Insight, ...] = ()
    """The same of those on trial."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much of what."""

    behaviors: int = 3
    strategies: int = 4
    lessons: int = 4
    demonstrations: bool = True
    remembered: int = 4
    """Correct attempts of earlier steps."""
    siblings: bool = True
    """Whether this batch's own attempts and feedback are in the context."""
    feedback: Feedback = "without_solution"
    """Whether feedback on a failed attempt is in the context: only where no correct attempt is, or always, or never."""
    diversity: float = 0.0
    """0: the nearest behaviors; towards 1, such as differ from each other."""
    mode: Mode = "relevant"
    """random: any memories of each tier in place of those that fit; shuffled: those of the next problem in the batch. Both
    are controls, and leave what the batch itself gives."""
    seed: int = 0
    """Of mode random."""


def recall(
    memory: Memory,
    problems_P: Sequence[Problem],
    siblings_PG: Sequence[Sequence[Experience]],
    wanted: Wanted | None = None,
) -> list[Recalled]:
    """One for each problem, in the order of `problems_P`. Reads the memory, changes nothing.

    Behaviors by dense retrieval with the problem's prompt (one query for all problems); strategies and lessons of the
    problem itself, newest first; demonstrations: correct attempts of this batch (`siblings_PG`, higher reward first),
    then correct ones of earlier steps, newest first. Feedback is that on this batch's failures, as `wanted.feedback` says.
    What is on trial, quarantined or retired is passed over. Without `siblings`, nothing of this batch is in the context, though
    memory already holds it.
    """
    wanted = wanted or Wanted()
    memory.refresh()
    asked_P = [*problems_P[1:], *problems_P[:1]] if wanted.mode == "shuffled" else list(problems_P)
    if wanted.mode == "random":
        drawn = [_drawn(memory, problem, wanted) for problem in problems_P]
    else:
        away = memory.in_state("trial", "quarantined", "retired")
        # As many more as cannot be read, so that those do not take the places of others.
        pool = wanted.behaviors * (4 if wanted.diversity else 1) + (8 if wanted.behaviors else 0) + len(away)
        prompts = [p.prompt for p in asked_P]
        found_P = memory.candidates_P(prompts, pool if wanted.behaviors else 0, vectors=wanted.diversity > 0)
        spare = len(away) + max(map(len, siblings_PG), default=0)
        drawn = [_fitting(memory, p, found, wanted, spare) for p, found in zip(asked_P, found_P, strict=True)]
    return [
        _with_batch(problem, mine, siblings_G, wanted)
        for problem, mine, siblings_G in zip(problems_P, drawn, siblings_PG, strict=True)
    ]


def _with_batch(problem: Problem, mine: Recalled, siblings_G: Sequence[Experience], wanted: Wanted) -> Recalled:
    """Joins what memory gives and what the batch gives."""
    batch_G = siblings_G if wanted.siblings else ()
    fresh = sorted((e for e in batch_G if e.correct), key=lambda e: -e.reward) if wanted.demonstrations else []
    # Memory holds the batch already: as siblings they are shown, or not at all.
    siblings = {e.id for e in siblings_G}
    earlier = [e for e in mine.context.demonstrations if e.id not in siblings][: wanted.remembered]
    kept = {e.id for e in earlier}
    choices = [Choice(e.id, "experience", True, "a correct attempt of this batch") for e in fresh]
    choices += [c for c in mine.choices if c.tier != "experience" or c.id in kept]
    silent = wanted.feedback == "never" or (wanted.feedback == "without_solution" and bool(fresh or earlier))
    feedback = {} if silent else {e.id: e.feedback for e in batch_G if not e.correct and e.feedback}
    context = replace(mine.context, problem=problem, demonstrations=(*fresh, *earlier), feedback=feedback)
    return replace(mine, context=context, choices=tuple(choices))


def _fitting(memory: Memory, problem: Problem, found: Sequence[Candidate], wanted: Wanted, spare: int) -> Recalled:
    """A problem's own memories, and the behaviors that are like it.

    `spare`: how many of the newest attempts may be such as are not read, or are the batch's own.
    """
    choices: list[Choice] = []
    behaviors = _behaviors(memory, found, wanted, choices)
    strategies = _insights(memory, problem, "strategy", wanted.strategies, choices)
    lessons = _insights(memory, problem, "lesson", wanted.lessons, choices)
    earlier: list[Experience] = []
    if wanted.demonstrations and wanted.remembered:
        for attempt in memory.experiences(problem.id, correct=True, limit=wanted.remembered + spare):
            if _can_be_read(memory, attempt, choices):
                earlier.append(attempt)
                choices.append(Choice(attempt.id, "experience", True, f"a correct attempt of step {attempt.step + 1}"))
    context = TeacherContext(problem, tuple(behaviors), tuple(strategies), tuple(lessons), tuple(earlier))
    away = [_away(memory, problem, found, wanted, state) for state in ("quarantined", "trial")]
    return Recalled(context, tuple(choices), *away)


def _away(
    memory: Memory, problem: Problem, found: Sequence[Candidate], wanted: Wanted, state: State
) -> tuple[Behavior | Insight, ...]:
    """Of that state, as many of each kind as the teacher would read."""
    away = memory.effects().ids(state)
    entries: list[Behavior | Insight] = [*[c.entry for c in found if c.entry.id in away][: wanted.behaviors]]
    for kind, limit in (("strategy", wanted.strategies), ("lesson", wanted.lessons)):
        entries += [i for i in memory.insights(problem.id) if i.kind == kind and i.id in away][:limit]
    return tuple(entries)


def _behaviors(memory: Memory, found: Sequence[Candidate], wanted: Wanted, choices: list[Choice]) -> list[Behavior]:
    live = [c for c in found if _can_be_read(memory, c.entry, choices)]
    chosen = diverse(live, wanted.behaviors, wanted.diversity)
    names = {c.entry.id for c in chosen}
    for place, each in enumerate(chosen, 1):
        why = f"like the problem ({each.similarity:.2f}), number {place} of {len(live)}"
        choices.append(Choice(each.entry.id, "behavior", True, why))
    least = min((c.similarity for c in chosen), default=0.0)
    for each in live:
        if each.entry.id not in names:
            like = max(((float(each.embedding @ c.embedding), c.entry.name) for c in chosen), default=(0.0, ""))
            beyond = f"beyond memory.behaviors={wanted.behaviors}"
            why = f"much like {like[1]} ({like[0]:.2f}), which is read" if each.similarity > least else beyond
            choices.append(
                Choice(each.entry.id, "behavior", False, f"like the problem ({each.similarity:.2f}), but {why}")
            )
    return [c.entry for c in chosen]


def _insights(
    memory: Memory, problem: Problem, kind: Literal["strategy", "lesson"], limit: int, choices: list[Choice]
) -> list[Insight]:
    live = [i for i in memory.insights(problem.id, kind=kind) if _can_be_read(memory, i, choices)]
    for place, insight in enumerate(live):
        why = f"of this very problem, step {insight.step + 1}, said {insight.support} times"
        if place >= limit:
            why += f", but newer ones fill the limit of {limit}"
        choices.append(Choice(insight.id, "insight", place < limit, why))
    return live[:limit]


def _can_be_read(memory: Memory, entry: Entry, choices: list[Choice]) -> bool:
    effects = memory.effects()
    state = effects.state(entry.id)
    if state != "live":
        choices.append(Choice(entry.id, tier_of(entry), False, f"{state}: {effects.why(entry.id)}"))
    return state == "live"


def _drawn(memory: Memory, problem: Problem, wanted: Wanted) -> Recalled:
    """As many of each tier as would fit, drawn among all live ones, whatever they are about."""
    rng = random.Random(f"{wanted.seed} {problem.id}")
    away = memory.in_state("trial", "quarantined", "retired")

    def some(entries: Sequence[Entry], count: int) -> list[Entry]:
        live = sorted((e for e in entries if e.id not in away), key=lambda e: e.id)
        return rng.sample(live, min(count, len(live)))

    insights = memory.list("insight")
    behaviors = some(memory.behaviors(), wanted.behaviors)
    strategies = some([i for i in insights if isinstance(i, Insight) and i.kind == "strategy"], wanted.strategies)
    lessons = some([i for i in insights if isinstance(i, Insight) and i.kind == "lesson"], wanted.lessons)
    remembered = wanted.remembered if wanted.demonstrations else 0
    earlier = some([e for e in memory.list("experience") if isinstance(e, Experience) and e.correct], remembered)
    entries = [*behaviors, *strategies, *lessons, *earlier]
    context = TeacherContext(problem, *(tuple(each) for each in (behaviors, strategies, lessons, earlier)))  # type: ignore[arg-type]
    return Recalled(context, tuple(Choice(e.id, tier_of(e), True, "drawn at random") for e in entries))
