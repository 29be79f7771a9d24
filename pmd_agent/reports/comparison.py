"""The tables of a comparison: plain rows of numbers, which comparison_page.py and the terminal show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pmd_agent.console import percent
from pmd_agent.evaluation import curves
from pmd_agent.evaluation.arms import BASE, Arm, find_arm
from pmd_agent.evaluation.finished_runs import MEASURED
from pmd_agent.evaluation.intervals import Difference, Estimate, Scores, difference, estimate, mean_of

LEFT_OUT = "Answers that could not be checked are left out; the first table has their share, and the accuracy if they were wrong."
Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a title. `note` says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    accuracies: bool = False
    """Whether it is of answers that were checked."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a comparison says."""

    arms: tuple[Arm, ...]
    reference: Arm
    tables: tuple[Table, ...]
    facts: tuple[str, ...] = field(default=())
    """How many problems, seeds and configurations were tried, and what was left out: a sentence each."""


def compare(arms: Sequence[Arm], against: str | None = None, facts: Sequence[str] = ()) -> Report:
    """All arms against one: the first, unless `against` names another. Raises RunError where that is none of them."""
    reference = find_arm(arms, against) if against else arms[0]
    tables = [_accuracy(arms), *([_kinds(arms)] if any(a.kinds() for a in arms) else [])]
    if len(arms) > 1:
        tables += [_against(arms, reference), _budgets(arms, reference)]
    tables += [_gauges(arms), _costs(arms)]
    if any(_unchecked(arm) for arm in arms):
        tables = [replace(t, note=f"{t.note} {LEFT_OUT}".strip()) if t.accuracies else t for t in tables]
    return Report(tuple(arms), reference, tuple(tables), (*_facts(arms), *facts))


def as_data(report: Report) -> dict[str, object]:
    """A report as plain data: of each table its rows, as objects by column."""
    tables = [
        {
            "title": table.title,
            "note": table.note,
            "rows": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
        }
        for table in report.tables
    ]
    return {"against": report.reference.name, "tables": tables, "facts": list(report.facts)}


def _accuracy(arms: Sequence[Arm]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    widest = max(arms, key=lambda arm: len(arm.runs))
    left_out = any(_unchecked(arm) for arm in arms)
    for name, arm, measured in ((BASE, widest, "base"), *((a.name, a, "final") for a in arms)):
        scores = arm.scores(measured)
        memory = arm.scores("final_with_memory") if measured == "final" else {}
        rows.append(
            (
                name,
                len(scores),
                sum(map(len, scores.values())),
                _interval(estimate(scores)) if scores else None,
                *(_percent(arm.scores(measured, metric)) for metric in ("pass", "maj")),
                _interval(estimate(memory)) if memory else None,
                *((percent(arm.unchecked(measured)), percent(arm.as_wrong(measured))) if left_out else ()),
            )
        )
    k = max((run.summary["final"]["detail"].get("k") or 0 for arm in arms for run in arm.runs), default=0)
    return Table(
        _tested(arms),
        (
            "arm", "seeds", "problems", f"avg@{k} memory-free", f"pass@{k}", f"maj@{k}", "with memory in the prompt",
            *(("not checked", "avg if these are wrong") if left_out else ()),
        ),
        tuple(rows),
        "After the last step. In brackets: 95 % interval over seeds and problems; where there is but one seed, over problems only, "
        "which says nothing of other seeds; one problem has none. A problem counts once a seed. No maj@k where answers cannot be "
        "compared, as programs and bare rewards.",
        accuracies=True,
    )  # fmt: skip


def _unchecked(arm: Arm) -> float:
    return max(arm.unchecked(measured) for measured in MEASURED)


def _tested(arms: Sequence[Arm]) -> str:
    """The title of accuracies, which says whether the problems were practised."""
    practised = {run.practised for arm in arms for run in arm.runs}
    if practised == {True}:
        return "Accuracy on problems that were trained on, by all of their tests"
    return (
        "Accuracy on test problems (of some arms, trained on)"
        if True in practised
        else "Accuracy on problems never trained on"
    )


def _kinds(arms: Sequence[Arm]) -> Table:
    kinds = sorted({kind for arm in arms for kind in arm.kinds()})
    rows: list[tuple[Cell, ...]] = []
    widest = max(arms, key=lambda arm: len(arm.runs))
    for name, arm, measured in ((BASE, widest, "base"), *((a.name, a, "final") for a in arms)):
        found = [arm.scores(measured, kind=kind) for kind in kinds]
        rows.append((name, *(_interval(estimate(scores)) if scores else None for scores in found)))
    return Table("Memory-free accuracy by kind of problem", ("arm", *kinds), tuple(rows), accuracies=True)


def _against(arms: Sequence[Arm], reference: Arm) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        if arm is reference:
            continue
        rows.append((arm.name, "memory-free", *_difference(difference(arm.scores(), reference.scores()))))
        base = {seed: rows for seed, rows in arm.scores("base").items() if seed in arm.scores()}
        rows.append((arm.name, f"over {BASE}", *_difference(difference(arm.scores(), base))))
        memory = arm.scores("final_with_memory")
        if memory:
            rows.append((arm.name, "with memory", *_difference(difference(memory, reference.scores()))))
    return Table(
        f"Against {reference.name}, paired by seed and problem",
        ("arm", "what", "points", "relative", "seeds", "pairs", "zero is outside"),
        tuple(rows),
        f"'with memory' is the arm with its memory in the prompt against {reference.name} without any; "
        f"'over {BASE}' is the arm against the policy before the first step. Arms that share no seed are not compared. "
        f"No 'relative' where the other's accuracy is not clear of zero. With one seed, intervals are over problems only.",
        accuracies=True,
    )


def _budgets(arms: Sequence[Arm], reference: Arm) -> Table:
    """Equal rollouts and equal seconds."""
    rollouts, seconds = min(a.rollouts for a in arms), min(a.seconds for a in arms)
    ends = [run.curve[-1].free for run in reference.runs if run.curve]
    target = sum(ends) / len(ends) if ends else None
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        needed = curves.reached(arm.runs, target) if target is not None else None
        own = curves.reached(reference.runs, target) if target is not None else None
        rows.append(
            (
                arm.name,
                percent(curves.mean_at(arm.runs, rollouts, "rollouts")),
                percent(curves.mean_at(arm.runs, seconds, "seconds")),
                None if needed is None else round(needed),
                None if needed is None or not own else f"{needed / own:.2f}",
            )
        )
    return Table(
        "At equal rollouts and at equal seconds (validation problems, memory-free)",
        (
            "arm", f"at {rollouts:,.0f} rollouts", f"at {seconds:,.0f} s of training",
            f"rollouts to reach {reference.name}'s end ({percent(target)})", f"share of {reference.name}'s",
        ),
        tuple(rows),
        "Seconds of all stages but evaluation; they count only where runs had the same cores. Straight lines between validations.",
    )  # fmt: skip


def _gauges(arms: Sequence[Arm]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        share = arm.mean("internalisation")
        rows.append(
            (
                arm.name,
                percent(share),
                *(
                    _rounded(arm.gauge(key))
                    for key in ("teacher_gain", "context_fraction", "response_tokens", "surprisal")
                ),
                percent(arm.gauge("correct")),
            )
        )
    return Table(
        "How they learnt (the last quarter of the steps)",
        (
            "arm",
            "internalised",
            "teacher gain (nats a token)",
            "taught",
            "tokens an answer",
            "surprisal (nats)",
            "right",
        ),
        tuple(rows),
        "Internalised: (final - base) / (with memory - base). Taught: rollouts whose teacher had something to read.",
    )


def _costs(arms: Sequence[Arm]) -> Table:
    stages = list(dict.fromkeys(stage for arm in arms for stage in arm.stage_seconds()))
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        spent = arm.stage_seconds()
        rows.append(
            (arm.name, round(arm.rollouts), round(arm.seconds, 1), *(round(spent.get(s, 0.0), 1) for s in stages))
        )
    return Table("Cost of a run: rollouts, and seconds by stage", ("arm", "rollouts", "seconds", *stages), tuple(rows))


def _facts(arms: Sequence[Arm]) -> Iterator[str]:
    runs = [run for arm in arms for run in arm.runs]
    seeds = sorted({run.seed for run in runs})
    yield f"{len(arms)} arms, {len(runs)} runs, seeds {', '.join(map(str, seeds))}."
    yield "Every figure is of the last step; no checkpoint was chosen."
    for arm in arms:
        shares = {name: share for name in MEASURED if (share := arm.unchecked(name))}
        if worst := max(
            (line.get("validation_unchecked") or 0.0 for run in arm.runs for line in run.metrics), default=0.0
        ):
            shares["a validation, at most"] = worst
        if shares:
            told = ", ".join(f"{name.replace('_', ' ')} {percent(share)}" for name, share in shares.items())
            yield f"{arm.name}: of the answers, so many could not be checked: {told}."
    for arm in arms:
        for run, seconds, median in arm.out_of_time():
            yield (
                f"{run.path} took {seconds:.2f} s of training a step, the median of {arm.name} is {median:.2f}: "
                "something else may have slowed the slower one, and what is said of equal seconds averages them."
            )


def _difference(found: Difference | None) -> tuple[Cell, ...]:
    if found is None:
        return (None, None, 0, 0, None)
    points, relative = found.points, found.relative
    return (
        f"{100 * points.mean:+.1f}{_ends(points, '+.1f')}",
        None if relative is None else f"{100 * relative.mean:+.0f} %{_ends(relative, '+.0f')}",
        found.seeds,
        found.problems,
        None if points.clear is None else "yes" if points.clear else "no",
    )


def _interval(found: Estimate) -> str:
    return f"{100 * found.mean:.1f}{_ends(found, '.1f')}"


def _ends(found: Estimate, form: str) -> str:
    """The interval in brackets, in percent; nothing where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f" [{100 * found.low:{form}}, {100 * found.high:{form}}]"


def _percent(scores: Scores) -> str | None:
    return percent(mean_of(scores)) if scores else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
