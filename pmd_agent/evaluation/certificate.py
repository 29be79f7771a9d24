"""What one run's own measurements say of its adapter: what it gained, what it lost, and what it does elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pmd_agent.console import percent
from pmd_agent.evaluation.finished_runs import FinishedRun
from pmd_agent.evaluation.intervals import difference
from pmd_agent.evaluation.scores import Outcome, accuracy, avg_as_wrong, unchecked_share

SCHEMA = 1
LAST = 10
"""Steps over which gauges are averaged."""
NAMED = 50
"""Problems that are listed by their ids."""


def certificate(run: FinishedRun) -> dict[str, Any]:
    """Plain data, for `certificate.json`: accuracies in [0, 1], None where something was not measured.

    `points` is the paired difference on the same problems with its 95 % interval (intervals.py), whose ends are None where
    one problem was measured. The run is one seed, so the interval says how sure the figure is on such problems, and
    nothing of another run. Answers that could not be checked are in no figure: `unchecked` is their share, `as_wrong` the accuracy
    if they were wrong. `practised`: whether the test problems are those that were trained on, with other tests.
    """
    before, after = run.outcomes.get("base", ()), run.outcomes.get("final", ())
    with_memory = run.outcomes.get("final_with_memory", ())
    spoken = [row["markers"] for row in run.metrics[-LAST:] if row.get("markers") is not None]
    return {
        "schema": SCHEMA,
        "run": {key: run.summary.get(key) for key in ("name", "method", "programs_by", "seed", "steps", "rollouts")},
        "test": {
            "problems": sum(bool(o.checked) for o in after),
            "rollouts_each": max((o.checked for o in after), default=0),
            "practised": run.practised,
        },
        "memory_free": _between(before, after) | {"by_kind": _by_kind(before, after)},
        "with_memory": {
            "after": _mean(with_memory),
            "points_over_memory_free": _points(with_memory, after),
            "unchecked": round(unchecked_share(with_memory), 4),
        },
        "internalisation": run.summary.get("internalisation"),
        "lost": _turned(before, after, solved=True),
        "won": _turned(before, after, solved=False),
        "answers_that_speak_of_memory": sum(spoken) / len(spoken) if spoken else None,
        "elsewhere": {
            name: _between(then, now) | {"lost": _turned(then, now, solved=True)}
            for name, (then, now) in run.elsewhere.items()
        },
    }  # fmt: skip


def sentences(found: Mapping[str, Any]) -> Iterator[str]:
    """The certificate in words, a line each."""
    free, memory, lost, won = (found[key] for key in ("memory_free", "with_memory", "lost", "won"))
    if free["after"] is None:
        yield "Its accuracy was not measured: the run had no test problems, or did not come to its end."
        return
    test = found["test"]
    answers = "one answer" if test["rollouts_each"] == 1 else f"{test['rollouts_each']} answers"
    which = "that it practised, by all of their tests" if test["practised"] else "that it never practised"
    yield f"Without memory, on {test['problems']} problems {which} ({answers} each): {change(free)}."
    yield from (f"{kind or 'other'}: {change(part)}." for kind, part in free["by_kind"].items())
    if memory["after"] is not None:
        over = _interval(memory["points_over_memory_free"], " over that")
        left_out = f"; {percent(memory['unchecked'])} of the answers not checked" if memory.get("unchecked") else ""
        yield f"With its memory in the prompt: {percent(memory['after'])}{over}{left_out}."
    if lost is not None:
        yield (
            f"Solved before and not now: {lost['count']} of {lost['of']}. "
            f"Not solved before, and now: {won['count']} of {won['of']}."
        )
    if (spoken := found["answers_that_speak_of_memory"]) is not None:
        yield f"Answers without memory that speak of memory, in the last steps of practice: {percent(spoken)}."
    yield from (f"Elsewhere, on {name}: {change(part)}." for name, part in found["elsewhere"].items())


def change(found: Mapping[str, Any]) -> str:
    """From what to what, and the points between with their interval; and what is left out of them."""
    return f"{percent(found['before'])} -> {percent(found['after'])}{_interval(found['points'], '')}{_left_out(found)}"


def _left_out(found: Mapping[str, Any]) -> str:
    shares, least = found.get("unchecked", {}), found.get("as_wrong", {})  # earlier certificates have neither
    if not any(shares.values()):
        return ""
    return (
        f"; not checked and left out: {percent(shares['before'])} of the answers before, {percent(shares['after'])} after "
        f"(counted as wrong: {percent(least['before'])} -> {percent(least['after'])})"
    )


def _interval(points: Mapping[str, float | None] | None, what: str) -> str:
    if points is None:
        return ""
    mean, *ends = (f"{100 * value:+.1f}" for key in ("mean", "low", "high") if (value := points[key]) is not None)
    how_sure = f" [{', '.join(ends)}]" if ends else "; one problem has no interval"
    return f" ({mean} points{what}{how_sure})"


def _between(before: Sequence[Outcome], after: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "before": _mean(before),
        "after": _mean(after),
        "points": _points(after, before),
        "unchecked": {"before": round(unchecked_share(before), 4), "after": round(unchecked_share(after), 4)},
        "as_wrong": {"before": avg_as_wrong(before), "after": avg_as_wrong(after)},
    }


def _by_kind(before: Sequence[Outcome], after: Sequence[Outcome]) -> dict[str, Any]:
    kinds = sorted({o.kind for o in after})
    of = {kind: [[o for o in all_ if o.kind == kind] for all_ in (before, after)] for kind in kinds}
    return {kind: _between(*pair) for kind, pair in of.items()} if len(kinds) > 1 else {}


def _mean(outcomes: Sequence[Outcome]) -> float | None:
    found: float | None = accuracy(outcomes)["avg"]
    return found


def _points(this: Sequence[Outcome], other: Sequence[Outcome]) -> dict[str, float | None] | None:
    found = difference({0: _shares(this)}, {0: _shares(other)})
    if found is None:
        return None
    ends = {"mean": found.points.mean, "low": found.points.low, "high": found.points.high}
    return {key: None if value is None else round(value, 4) for key, value in ends.items()}


def _turned(before: Sequence[Outcome], after: Sequence[Outcome], *, solved: bool) -> dict[str, Any] | None:
    """Of the problems that were (not) solved before, in more than half of the answers, those for which it is the other way now."""
    then, now = _shares(before), _shares(after)
    first = [name for name in sorted(then.keys() & now.keys()) if (then[name] > 0.5) == solved]
    turned = [name for name in first if (now[name] > 0.5) != solved]
    return {"count": len(turned), "of": len(first), "problems": turned[:NAMED]} if then and now else None


def _shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {o.problem_id: o.correct / o.checked for o in outcomes if o.checked}
