"""A run at a glance: its state, its curves, how sure its accuracies are, alarms, and the last step in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pmd_agent.console import duration, percent
from pmd_agent.evaluation.diagnostics import all_alarms
from pmd_agent.evaluation.finished_runs import outcomes_of
from pmd_agent.evaluation.intervals import estimate
from pmd_agent.evaluation.scores import shares
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.lock import writer_of
from pmd_agent.text import readable

Rows = Sequence[Mapping[str, Any]]
MEASURED = {
    "base": "before, without memory",
    "base_with_memory": "before, with memory",
    "final": "after, without memory",
    "final_with_memory": "after, with memory",
}


def overview(run: RunDir) -> dict[str, Any]:
    """All of it. A step that is not committed yet counts as a step: it goes away where a kill takes it back."""
    rows = [row for row in run.metrics() if rollouts_file(run.path, row["step"]).is_file()]
    summary = run.read_json("summary.json") or {}
    steps = summary.get("steps") or run.recipe.steps
    measured = [found for name, title in MEASURED.items() if (found := _measured(run, name, title))]
    return {
        "name": run.recipe.name,
        "path": readable(str(run.path)),
        "state": state_of(run),
        "steps": steps,
        "committed": run.next_step,
        "facts": _facts(run, rows, summary),
        "words": last_step(rows, steps) if rows else [],
        "alarms": [{"step": step, "text": text} for step, text in all_alarms(rows)],
        "step": [row["step"] for row in rows],
        "stamp": [_stamp(rollouts_file(run.path, row["step"])) for row in rows],
        "metrics": _columns(rows),
        "stages": _columns([row["stage_seconds"] for row in rows]),
        "measured": measured,
    }


def state_of(run: RunDir) -> str:
    """finished, running (a process has it), or stopped."""
    if run.finished:
        return "finished"
    return "running" if writer_of(run.path) is not None else "stopped"


def rollouts_file(path: Path, step: int) -> Path:
    """Where the rollouts of a step are."""
    return path / "rollouts" / f"step-{step:06d}.jsonl"


def _stamp(file: Path) -> str:
    """Differs where a killed step was made anew."""
    return str(file.stat().st_mtime_ns)


def _columns(rows: Rows) -> dict[str, list[float | None]]:
    """Each number's values, a step each; None where a step does not report it."""
    keys = dict.fromkeys(k for row in rows for k, v in row.items() if isinstance(v, (int, float)) and k != "step")
    return {key: [_short(row.get(key)) for row in rows] for key in keys}


def _short(value: Any) -> float | None:
    return None if value is None else float(f"{float(value):.5g}")


def _measured(run: RunDir, name: str, title: str) -> dict[str, Any] | None:
    """Accuracy on the test problems with its interval; None where it was not measured."""
    scores = shares(outcomes_of(run.path / "evaluation" / f"{name}.jsonl"))
    if not scores:
        return None
    found = estimate({run.recipe.seed: scores})
    return {
        "name": name,
        "title": title,
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "problems": len(scores),
    }


def _facts(run: RunDir, rows: Rows, summary: Mapping[str, Any]) -> list[str]:
    recipe = run.recipe
    model = getattr(recipe.policy, "model", recipe.policy.type)
    facts = [f"{recipe.method}, {recipe.problems.type} problems, {readable(str(model))}, seed {recipe.seed}"]
    if rows:
        seconds, rollouts = (sum(row.get(key) or 0 for row in rows) for key in ("seconds", "rollouts"))
        facts.append(f"{rollouts:,.0f} attempts in {duration(seconds)} of steps")
    gain = summary.get("gain") or {}
    if gain.get("mean") is not None:
        ends = "" if gain.get("low") is None else f" [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
        facts.append(f"without memory {100 * gain['mean']:+.1f}{ends} points on the test problems")
    if summary.get("internalisation") is not None:
        facts.append(f"{percent(summary['internalisation'])} of what memory gives is in the weights")
    return facts


def last_step(rows: Rows, steps: int | None) -> list[str]:
    """What the newest step did, a sentence each."""
    row, first = rows[-1], rows[0]
    sentences = [
        f"Step {row['step'] + 1}{f' of {steps}' if steps else ''}: {_attempts(row, first)}",
        _teaching(row),
        _memory(row),
        _validation(row),
        _time(row),
    ]
    return [sentence for sentence in sentences if sentence]


def _attempts(row: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    said = f"{row.get('rollouts', 0):.0f} attempts"
    if row.get("correct") is not None:
        before = (
            f" ({percent(first['correct'])} in the first step)" if row is not first and first.get("correct") else ""
        )
        said += f", {percent(row['correct'])} of them right{before}"
    if row.get("solved_groups") is not None:
        said += f"; {percent(row['solved_groups'])} of the problems were solved at least once"
    length = f" An answer has {row['response_tokens']:.0f} tokens." if row.get("response_tokens") else ""
    cut = f" {percent(row['truncated'])} were cut at the limit." if row.get("truncated") else ""
    return f"{said}.{length}{cut}"


def _teaching(row: Mapping[str, Any]) -> str:
    said = []
    if row.get("context_fraction") is not None:
        said.append(f"For {percent(row['context_fraction'])} of the attempts the teacher had something to read.")
    if (gain := row.get("teacher_gain")) is not None:
        told = "it tells right from wrong" if gain > 0 else "it does not tell right from wrong"
        said.append(f"The teacher believed in right ones by {gain:+.3f} nats a token more than in wrong ones: {told}.")
    if row.get("loss") is not None:
        said.append(f"The loss was {row['loss']:.4g} nats a token.")
    return " ".join(said)


def _memory(row: Mapping[str, Any]) -> str:
    said = []
    if row.get("insights_written") is not None:
        said.append(f"{row['insights_written']:.0f} insights were written")
    if row.get("behaviors") is not None:
        said.append(f"there are {row['behaviors']:.0f} behaviors")
    gone = sum(value for key, value in row.items() if key.startswith("evicted_") and isinstance(value, (int, float)))
    if gone:
        said.append(f"{gone:.0f} memories left for age or room")
    return ", ".join(said)[:1].upper() + ", ".join(said)[1:] + "." if said else ""


def _validation(row: Mapping[str, Any]) -> str:
    if row.get("validation") is None:
        return ""
    with_memory = row.get("validation_with_memory")
    more = "" if with_memory is None else f", {percent(with_memory)} with memory in the prompt"
    return f"On the validation problems {percent(row['validation'])} were right{more}."


def _time(row: Mapping[str, Any]) -> str:
    stages = sorted(row["stage_seconds"].items(), key=lambda item: -item[1])
    total = sum(seconds for _, seconds in stages)
    if not total:
        return ""
    most = ", ".join(f"{name} {percent(seconds / total)}" for name, seconds in stages[:3] if seconds)
    return f"It took {duration(row.get('seconds') or total)}: {most}."
