"""What a run's reflector was given and what it wrote, as a training set for DSPy's optimisers: read from the run's folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import dspy

from pmd_agent.errors import PipelineError
from pmd_agent.pipelines.program_views import attempt_view, problem_view
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.program_trace import FOLDER, ProgramTrace, unpack
from pmd_agent.runs.read_lines import read_lines
from pmd_agent.types import Experience, Problem

Row = Mapping[str, Any]
"""A line of rollouts/step-*.jsonl."""


def training_set(
    run: RunDir, problems: Iterable[Problem], *, special_tokens: Collection[str] = (), before: int | None = None
) -> list[dspy.Example]:
    """One example for each reflection of the run, oldest first. Raises PipelineError where a problem is missing.

    Inputs, as the reflector gets them: `problem`, `experiences`. Labels: what was written (`strategies`, `lessons`; runs of
    earlier releases do not have them), `answers` (what the verifier parsed out of correct attempts), `gain` (how much more
    the teachers that read it believed in correct rollouts of that step than in wrong ones; nats a token, None where nobody
    knows), and `step`. `problems` are the run's. `before`: of earlier steps only; by default of those that are committed.
    """
    known = {problem.id: problem for problem in problems}
    last = run.next_step if before is None else before
    found = []
    for path in sorted((run.path / "rollouts").glob("step-*.jsonl")):
        step = int(path.stem.removeprefix("step-"))
        if step >= last:
            break
        groups: dict[str, list[Row]] = {}
        for row in read_lines(path):
            groups.setdefault(row["problem"], []).append(row)
        for trace in unpack(read_lines(run.path / FOLDER / path.name)):
            if trace.about not in groups:
                continue  # a cluster, which was generalised
            if trace.about not in known:
                raise PipelineError(
                    f"{run.path} has reflections on {trace.about}, which is not among its problems.",
                    "Give the problems that the run was made with.",
                )
            found.append(_example(known[trace.about], groups[trace.about], trace, step, special_tokens))
    return found


def _example(
    problem: Problem, rows: Sequence[Row], trace: ProgramTrace, step: int, special_tokens: Collection[str]
) -> dspy.Example:
    checked = [_experience(row, step) for row in rows if row["reward"] is not None]
    labels: dict[str, Any] = {
        "answers": sorted({e.answer for e in checked if e.correct and e.answer}),
        "gain": _gain(rows, set(trace.wrote)),
        "step": step,
    }
    if len(trace.texts) == len(trace.wrote):
        for kind, name in (("strategy", "strategies"), ("lesson", "lessons")):
            pairs = zip(trace.wrote, trace.texts, strict=True)
            labels[name] = [text for entry_id, text in pairs if entry_id.split("/")[-2] == kind]
    return dspy.Example(
        problem=problem_view(problem, special_tokens),
        experiences=[attempt_view(e, special_tokens) for e in checked],
        **labels,
    ).with_inputs("problem", "experiences")


def _experience(row: Row, step: int) -> Experience:
    return Experience(
        id=row["id"],
        problem_id=row["problem"],
        text=row["text"],
        reward=row["reward"],
        correct=bool(row["correct"]),
        feedback=row["feedback"],
        answer=row["answer"],
        step=step,
        policy_version=row["policy_version"],
    )


def _gain(rows: Sequence[Row], wrote: set[str]) -> float | None:
    """Of correct rollouts less wrong ones, both taught by what was written; None where one of the two is missing."""
    taught = [row for row in rows if wrote & set(row["taught_by"]) and row.get("teacher_gain") is not None]
    sides = [[row["teacher_gain"] for row in taught if bool(row["correct"]) is right] for right in (True, False)]
    if not all(sides):
        return None
    right, wrong = (sum(side) / len(side) for side in sides)
    return float(right - wrong)
