"""Procedural Memory Distillation, on one page.

Attempt, verify, remember, reflect, generalise, recall, distil: memory and policy improve each other, and at the end the policy
answers without memory. SDPO is this loop without memory, a frozen policy the loop without distillation, and so on: the
recipe switches stages off, the page stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pmd_agent.console import Console
from pmd_agent.evaluation.diagnostics import alarms, internalisation
from pmd_agent.evaluation.finished_runs import outcomes_of
from pmd_agent.evaluation.intervals import difference, estimate
from pmd_agent.evaluation.scores import accuracy, shares
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.program_trace import FOLDER, pack
from pmd_agent.stages import (
    Early,
    Learnt,
    Metrics,
    Parts,
    TeacherPrompts,
    attempt,
    distil,
    evaluate,
    generalise,
    optimise,
    reads_memory,
    recall,
    reflect,
    remember,
    sampling_ahead,
    sync,
    teacher_prompts,
    tidy,
    time_left,
    verify,
    weigh,
)
from pmd_agent.types import Rollout, Step, Verdict


def practise(parts: Parts, run: RunDir, console: Console) -> Iterator[Step]:
    """Run the recipe's steps, each of which is yielded once it is committed. A killed run goes on from its last commit."""
    measure(parts, run, console, "base")
    if reads_memory(parts) and parts.recipe.memory.bank:
        measure(parts, run, console, "base_with_memory", with_memory=True)

    for step in range(run.next_step, parts.steps):
        m = Metrics(step)
        problems_P = parts.curriculum.batch(step)
        early = Early(parts, m, problems_P)  # what is complete is judged and reflected on while the rest is sampled
        rollouts_PG = attempt(parts, m, problems_P, early)  # plain prompts, no memory
        verdicts_PG = verify(parts, m, problems_P, rollouts_PG, early)
        experiences_PG = remember(parts, m, rollouts_PG, verdicts_PG)
        reflect(parts, m, problems_P, experiences_PG, early)  # DSPy, run by the policy
        generalise(parts, m)  # DSPy, every K steps
        optimise(parts, m, run)  # the reflector itself, where the recipe wants it
        tidy(parts, m)  # budgets and ages
        recalled_P = recall(parts, m, problems_P, experiences_PG)
        prompts = teacher_prompts(parts, m, rollouts_PG, verdicts_PG, recalled_P)  # what the teacher reads
        with sampling_ahead(parts, m):  # the next step's attempts, where the recipe wants a lag
            learnt = distil(parts, m, rollouts_PG, verdicts_PG, prompts)
        weigh(parts, m, rollouts_PG, verdicts_PG, prompts, learnt)  # did reading them help?
        sync(parts, m, run.path / "adapters")  # the next attempts are on-policy
        validate(parts, m)
        if not parts.recipe.memory.persist:
            parts.memory.rollback(step)  # transient: nothing outlives its step
        commit(parts, m, run, rollouts_PG, verdicts_PG, prompts, learnt)
        console.step(step, parts.steps, m.record(), time_left(parts, m, run.read_json("evaluation/base.json")))
        watch(parts, m, console)
        yield Step.of(step, parts.steps, m.record(), problems_P, rollouts_PG, verdicts_PG)

    measure(parts, run, console, "final")
    if reads_memory(parts):
        measure(parts, run, console, "final_with_memory", with_memory=True)
    summarise(parts, run)


def watch(parts: Parts, m: Metrics, console: Console) -> None:
    """A warning where this step crosses a bound, or ended distillation."""
    for sentence in alarms(parts.history, m.values):
        console.warn(f"step {m.step + 1}: {sentence}")
    if m.values.get("distillation_ended") and not (parts.history and parts.history[-1].get("distillation_ended")):
        console.warn(f"step {m.step + 1}: the teacher gains nothing any more, so distillation has ended")
    parts.history.append(m.record())


def validate(parts: Parts, m: Metrics) -> None:
    """Accuracy on the validation problems where the clock says so, memory-free and with memory in the prompt."""
    settings = parts.recipe.evaluate
    if not (parts.validation and settings.every and (m.step + 1) % settings.every == 0):
        return
    for name, with_memory in (("validation", False), ("validation_with_memory", True)):
        if with_memory and not reads_memory(parts):
            continue
        outcomes = evaluate(parts, m, parts.validation, with_memory, settings.validation_samples)
        found, sure = accuracy(outcomes), estimate({0: shares(outcomes)})
        m.values |= {name: found["avg"], f"{name}_pass": found["pass"]}
        if sure.low is not None and sure.high is not None:
            m.values |= {f"{name}_low": sure.low, f"{name}_high": sure.high}
        if found["unchecked"]:
            m.values[f"{name}_unchecked"] = found["unchecked_share"]


def commit(
    parts: Parts,
    m: Metrics,
    run: RunDir,
    rollouts_PG: Sequence[Sequence[Rollout]],
    verdicts_PG: Sequence[Sequence[Verdict]],
    prompts: TeacherPrompts,
    learnt: Learnt,
) -> None:
    """The step as one: metrics, rollouts, what the programs were asked, and the state that a resumed run starts from."""
    taught = prompts.teaching
    rows = [
        {
            "id": r.id, "problem": r.problem_id, "text": r.text, "tokens": len(r.completion_ids), "finish_reason": r.finish_reason,
            "policy_version": r.policy_version, "logprob": sum(r.logprobs), "reward": v.reward, "correct": v.correct,
            "answer": v.answer, "feedback": v.feedback, "taught_by": list(taught[r.id].shown) if r.id in taught else [],
            "teacher_gain": learnt.gains.get(r.id),
        }
        | ({"token_gains": learnt.token_gains[r.id]} if r.id in learnt.token_gains else {})
        for rollouts, verdicts in zip(rollouts_PG, verdicts_PG, strict=True)
        for r, v in zip(rollouts, verdicts, strict=True)
    ]  # fmt: skip
    run.commit(m.step, m.record(), rows, parts.save, programs=pack(m.traces), last=m.step + 1 == parts.steps)


def measure(parts: Parts, run: RunDir, console: Console, name: str, *, with_memory: bool = False) -> None:
    """Accuracy on the test problems, once: a resumed run finds what was measured before."""
    result = run.read_json(f"evaluation/{name}.json")
    if result is None:
        m = Metrics(-1)
        with console.stage(f"evaluating ({name.replace('_', ' ')}) on {len(parts.test)} problems"):
            outcomes = evaluate(parts, m, parts.test, with_memory)
        result = accuracy(outcomes) | {"with_memory": with_memory, "seconds": m.record()["seconds"]}
        run.write_lines(f"evaluation/{name}.jsonl", [o.record() for o in outcomes])
        run.write_json(f"evaluation/{name}.json", result)
    console.evaluation(name, result)


def summarise(parts: Parts, run: RunDir) -> None:
    """The adapter and the programs in their places, and summary.json."""
    parts.save_programs(run.path / FOLDER)
    if parts.trainer is not None:
        run.write_folder(run.adapter_path.name, parts.trainer.save_adapter)
    seconds: Counter[str] = Counter()
    rollouts = 0
    for line in run.metrics():
        seconds.update(line["stage_seconds"])
        rollouts += line["rollouts"]
    names = ("base", "base_with_memory", "final", "final_with_memory")
    measured = {name: run.read_json(f"evaluation/{name}.json") for name in names}
    base, final, with_memory = measured["base"] or {}, measured["final"] or {}, measured["final_with_memory"]
    summary = {
        "name": parts.recipe.name,
        "method": parts.recipe.method,
        "programs_by": parts.recipe.pipeline.lm.model or "policy",
        "seed": parts.recipe.seed,
        "steps": parts.steps,
        "rollouts": rollouts,
        "base": {
            "free": base.get("avg"),
            "with_memory": (measured["base_with_memory"] or {}).get("avg"),
            "detail": base,
        },
        "final": {
            "free": final.get("avg"),
            "with_memory": with_memory["avg"] if with_memory else None,
            "detail": final,
            "detail_with_memory": with_memory,
        },
        "gain": _gain(run),
        "internalisation": internalisation(base.get("avg"), final.get("avg"), (with_memory or {}).get("avg")),
        "memory": parts.memory.counts(),
        "seconds": {name: round(s, 1) for name, s in seconds.items()}
        | {"evaluation": round(sum(r["seconds"] for r in measured.values() if r), 1)},
    }
    run.write_json("summary.json", summary)


def _gain(run: RunDir) -> dict[str, float | None] | None:
    """Accuracy after less before, with its interval over the test problems; None where one of them was not measured."""
    before, after = (shares(outcomes_of(run.path / "evaluation" / f"{name}.jsonl")) for name in ("base", "final"))
    found = difference({0: after}, {0: before}) if before and after else None
    return None if found is None else {"mean": found.points.mean, "low": found.points.low, "high": found.points.high}
