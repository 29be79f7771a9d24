"""Running the programs for a whole batch, and turning what they say into memories.

A response that does not parse is counted and dropped. So are sentences that are empty, too long, or beyond the limit, and
strategies from a group without a single success, whatever module wrote them.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import dspy
from dspy.utils.exceptions import AdapterParseError, LMError

from pmd_agent.errors import PipelineError, PMDError
from pmd_agent.pipelines.listener import Listener
from pmd_agent.pipelines.load_program import where
from pmd_agent.pipelines.outside import OutsideLM
from pmd_agent.pipelines.program_id import program_of
from pmd_agent.pipelines.program_views import attempt_view, insight_view, problem_view
from pmd_agent.pipelines.style import Style, adapter_of
from pmd_agent.pipelines.support import has_content, supporters
from pmd_agent.runs.program_trace import Call, ProgramTrace, bounded
from pmd_agent.types import Behavior, Experience, Insight, Problem

# A changing policy must not be answered from its past.
dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)

logging.getLogger("dspy").setLevel(logging.ERROR)  # a truncated response is counted here, not warned of a hundred times

THREADS = 64


def _forget(trace: ProgramTrace) -> None:
    pass


def reflect_all(
    reflector: dspy.Module,
    lm: dspy.LM,
    problems_P: Sequence[Problem],
    experiences_PG: Sequence[Sequence[Experience]],
    *,
    step: int,
    policy_version: int,
    max_insights: int,
    insight_chars: int,
    prefix: str = "",
    special_tokens: Collection[str] = (),
    record: Callable[[ProgramTrace], object] = _forget,
    style: Style = "box",
) -> tuple[list[list[Insight]], dict[str, int]]:
    """Insights of every problem, and counts: calls, unparsed, dropped. Problems without experiences get none.

    The program gets views of them, without answers; `special_tokens` are those of the tokenizer that reads them. `prefix`
    leads the insights' ids. `record` gets what each run of the program was asked and said. `style`: how questions are laid out.
    """
    program = program_of(reflector, lm.model)
    jobs = [
        (i, problem, group) for i, (problem, group) in enumerate(zip(problems_P, experiences_PG, strict=True)) if group
    ]
    seen = [(problem_view(p, special_tokens), [attempt_view(e, special_tokens) for e in g]) for _, p, g in jobs]
    answers = run_programs(lm, [partial(reflector, problem=p, experiences=g) for p, g in seen], style)
    counts = Counter(calls=len(jobs), unparsed=0, dropped=0)
    insights_P: list[list[Insight]] = [[] for _ in problems_P]
    for (i, problem, group), (answer, calls) in zip(jobs, answers, strict=True):
        if answer is None or not {"strategies", "lessons"} & {*answer.keys()}:
            counts["unparsed"] += 1
            record(bounded(problem.id, program, calls))
            continue
        successes = sum(e.correct for e in group)
        kinds: tuple[tuple[Literal["strategy", "lesson"], Any], ...] = (
            ("strategy", answer.get("strategies")),
            ("lesson", answer.get("lessons")),
        )
        for kind, said in kinds:
            texts, dropped = well_formed(said, insight_chars, max_insights)
            if kind == "strategy" and not successes:
                texts, dropped = [], dropped + len(texts)
            counts["dropped"] += dropped
            insights_P[i] += [
                Insight(
                    id=f"{prefix}{step}/{problem.id}/{kind}/{number}",
                    problem_id=problem.id,
                    kind=kind,
                    text=text,
                    confidence=successes / len(group),
                    sources=tuple(e.id for e in group),
                    step=step,
                    policy_version=policy_version,
                    program=program,
                )
                for number, text in enumerate(texts)
            ]
        record(bounded(problem.id, program, calls, {insight.id: insight.text for insight in insights_P[i]}))
    return insights_P, dict(counts)


def generalise_all(
    generaliser: dspy.Module,
    lm: dspy.LM,
    clusters: Sequence[tuple[str, Sequence[Insight]]],
    *,
    step: int,
    policy_version: int,
    max_behaviors: int,
    behavior_chars: int,
    prefix: str = "",
    special_tokens: Collection[str] = (),
    record: Callable[[ProgramTrace], object] = _forget,
    style: Style = "box",
) -> tuple[list[Behavior], dict[str, int]]:
    """Behaviors of all clusters, one of each name, and counts as in `reflect_all`.

    A rule's sources are the insights that say it (support.py), its support the problems that these are about. One that no
    insight says is dropped and counted as `unsupported`. Where clusters give one name different rules, the one with more
    support is kept. The rest as there.
    """
    program = program_of(generaliser, lm.model)
    jobs = [(name, [insight_view(i, special_tokens) for i in insights]) for name, insights in clusters if insights]
    answers = run_programs(lm, [partial(generaliser, insights=i) for _, i in jobs], style)
    counts = Counter(calls=len(jobs), unparsed=0, dropped=0, unsupported=0)
    best: dict[str, Behavior] = {}
    for (cluster, insights), (answer, _) in zip(jobs, answers, strict=True):
        if answer is None or "behaviors" not in answer:
            counts["unparsed"] += 1
            continue
        texts, dropped = well_formed(answer.get("behaviors"), behavior_chars, max_behaviors)
        counts["dropped"] += dropped
        for text in texts:
            name, rule = name_and_rule(text)
            if not (behind := supporters(rule, insights)):
                counts["unsupported"] += 1
                continue
            behavior = Behavior(
                id=f"{prefix}{step}/{name}",
                name=name,
                text=rule,
                cluster=cluster,
                support=len({i.problem_id for i in behind}),
                sources=tuple(i.id for i in behind),
                step=step,
                policy_version=policy_version,
                program=program,
                problems=len({i.problem_id for i in insights}),
            )
            if name not in best or best[name].support < behavior.support:
                best[name] = behavior
    for (cluster, _), (_, calls) in zip(jobs, answers, strict=True):
        kept = {best[n].id: best[n].text for n in sorted(best) if best[n].cluster == cluster}
        record(bounded(cluster, program, calls, kept))
    return [best[name] for name in sorted(best)], dict(counts)


def name_and_rule(text: str) -> tuple[str, str]:
    """`verify atom counts: Count atoms in rings first.` -> (`behavior_verify_atom_counts`, the rest).

    Without a short name before a colon the rule's first words name it.
    """
    head, colon, rest = text.partition(":")
    named = bool(colon and rest.strip()) and len(head.split()) <= 8
    words = re.findall(r"[^\W_]+", (head if named else text).lower())
    words = words[1:] if words[:1] == ["behavior"] and len(words) > 1 else words
    return "behavior_" + "_".join(words[:8] or ["unnamed"]), rest.strip() if named else text


def run_programs(
    lm: dspy.LM, programs: Sequence[Callable[[], dspy.Prediction]], style: Style = "box"
) -> list[tuple[dspy.Prediction | None, list[Call]]]:
    """Each program's prediction, None where the response did not parse, and its calls; side by side."""
    engine = getattr(lm, "engine", None)
    engine = engine if hasattr(engine, "expect") else None  # one that batches wants to know how many are coming

    def one(program: Callable[[], dspy.Prediction]) -> tuple[dspy.Prediction | None, list[Call]]:
        listener = Listener()
        callbacks = [*dspy.settings.callbacks, listener]
        with dspy.context(lm=lm, adapter=adapter_of(style), callbacks=callbacks):
            try:
                said = program()
                return said if isinstance(said, dspy.Prediction | dict) else None, listener.calls
            except AdapterParseError:
                return None, listener.calls
            except LMError as error:  # DSPy wraps what the policy says, such as that a prompt is too long
                if isinstance(error.__cause__, PMDError):
                    raise error.__cause__ from None
                if isinstance(lm, OutsideLM):
                    raise PipelineError(f"{lm.model} failed: {error}", "Check pipeline.lm, or leave it out.") from None
                raise
            except PMDError:
                raise
            except Exception as error:
                name = type(getattr(program, "func", program)).__qualname__
                raise PipelineError(
                    f"{name} failed: {where(error)}.", "Mend it; the run can then go on with --resume."
                ) from error
            finally:
                if engine is not None:
                    engine.done()

    done: list[tuple[dspy.Prediction | None, list[Call]]] = []
    for start in range(0, len(programs), THREADS):
        part = programs[start : start + THREADS]
        if engine is not None:
            engine.expect(len(part))
        with ThreadPoolExecutor(len(part)) as pool:
            done += pool.map(one, part)
    return done


def well_formed(said: Any, chars: int, limit: int) -> tuple[list[str], int]:
    """Distinct sentences that say something, in the order given, and how many were dropped. One string is one sentence."""
    said = [said] if isinstance(said, str) else list(said) if isinstance(said, set | frozenset) else said
    texts = [" ".join(t.split()) for t in said if isinstance(t, str)] if isinstance(said, (list, tuple)) else []
    kept = list(dict.fromkeys(t for t in texts if 0 < len(t) <= chars and has_content(t)))[:limit]
    return kept, len(said or []) - len(kept) if isinstance(said, (list, tuple)) else int(said is not None)
