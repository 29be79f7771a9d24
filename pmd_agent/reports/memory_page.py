"""What a run remembers as one HTML page that loads nothing: rules, what they were made from, and the attempts behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmd_agent.console import percent
from pmd_agent.memory import Memory
from pmd_agent.reports.comparison_page import template
from pmd_agent.reports.plots import as_svg
from pmd_agent.runs.folder import RunDir
from pmd_agent.text import cut, readable
from pmd_agent.types import TIERS, Behavior, Experience, Insight

BEHAVIORS, PROBLEMS, ONCE = 100, 200, 50
INSIGHTS, ATTEMPTS = 12, 6
"""Of one behavior, of one insight."""
CHARACTERS = 1_000
"""Of a text."""


@dataclass(frozen=True, slots=True)
class Node:
    """A memory as the page shows it."""

    id: str
    name: str
    """Of a behavior."""
    text: str
    kind: str
    """strategy or lesson; right or wrong; behavior."""
    state: str
    why: str
    about: str
    sources: tuple[Node, ...] = ()
    more: int = 0
    """Sources that are not shown."""


@dataclass(frozen=True, slots=True)
class Practised:
    """A problem, and what was learnt from it."""

    id: str
    prompt: str
    about: str
    insights: tuple[Node, ...]


def memory_page(run: RunDir, memory: Memory, prompts: Mapping[str, str]) -> str:
    """The page. `prompts`: problem id -> its text, as far as it is known. Of long lists the first; it says how many more."""
    behaviors = sorted(memory.behaviors(), key=lambda b: -b.support)
    everything = [b for b in memory.list("behavior", include_archived=True) if isinstance(b, Behavior)]
    once = [b for b in everything if memory.retired_at(b) is not None]
    of: dict[str, list[Insight]] = {}
    for entry in memory.list("insight"):
        if isinstance(entry, Insight):
            of.setdefault(entry.problem_id, []).append(entry)
    plots = [("Live entries after each step", svg)] if (svg := _growth(memory, run.next_step)) else []
    return template("reports/memory_page.html.jinja").render(
        title=f"What {run.recipe.name} remembers",
        run=str(run.path),
        facts=_facts(run, memory),
        plots=plots,
        behaviors=[_behavior(memory, b) for b in behaviors[:BEHAVIORS]],
        more_behaviors=max(0, len(behaviors) - BEHAVIORS),
        problems=[_problem(memory, name, of[name], prompts) for name in list(of)[:PROBLEMS]],
        more_problems=max(0, len(of) - PROBLEMS),
        once=[
            _node(memory, b, f"written by step {b.step + 1}, gone with step {(memory.retired_at(b) or 0) + 1}")
            for b in once[:ONCE]
        ],
        more_once=max(0, len(once) - ONCE),
    )


def _facts(run: RunDir, memory: Memory) -> list[str]:
    counts, summary = memory.counts(), run.read_json("summary.json") or {}
    facts = [f"{run.recipe.method}, {run.next_step} steps; written by {summary.get('programs_by', 'policy')}"]
    facts.append(
        ", ".join(f"{counts[tier]} {tier}s" for tier in reversed(TIERS)) + f"; {counts['archive']} more in the archive"
    )
    away = [
        f"{len(memory.in_state(state))} {state}"
        for state in ("trial", "quarantined", "retired")
        if memory.in_state(state)
    ]
    if away:
        facts.append("not read by all teachers: " + ", ".join(away))
    base, final = summary.get("base") or {}, summary.get("final") or {}
    if final.get("free") is not None:
        shares = [(of.get("detail") or {}).get("unchecked_share") or 0.0 for of in (base, final)]
        left_out = f" ({percent(shares[0])} and {percent(shares[1])} of the answers not checked)" if any(shares) else ""
        facts.append(f"without memory {percent(base.get('free'))} -> {percent(final['free'])}{left_out}")
    if final.get("with_memory") is not None:
        facts.append(f"with memory in the prompt {percent(final['with_memory'])}")
    if bank := memory.noted("bank"):
        facts.append(f"began with {bank['entries']} entries of the bank {bank['name']}")
    return facts


def _behavior(memory: Memory, entry: Behavior) -> Node:
    sources = memory.most_alike(entry.text, memory.sources_of(entry))  # all of its cluster's; first what says as much
    about = f"{entry.support_in_words}, last found in step {entry.step + 1}{_use(memory, entry.id)}"
    shown = tuple(_insight(memory, s) for s in sources[:INSIGHTS] if isinstance(s, Insight))
    return _node(memory, entry, about, shown, len(entry.sources) - len(shown))


def _insight(memory: Memory, entry: Insight) -> Node:
    sources = memory.sources_of(entry)
    about = f"{entry.kind}, said {_times(entry.support, 'time')}, last in step {entry.step + 1}{_use(memory, entry.id)}"
    shown = tuple(_attempt(memory, s) for s in sources[:ATTEMPTS] if isinstance(s, Experience))
    return _node(memory, entry, about, shown, len(entry.sources) - len(shown))


def _attempt(memory: Memory, entry: Experience) -> Node:
    answer = "no answer" if entry.answer is None else _short(entry.answer, 80)
    feedback = f" · {_short(entry.feedback, 200)}" if entry.feedback else ""
    return _node(memory, entry, f"{entry.id} · {answer}{feedback}")


def _node(
    memory: Memory, entry: Behavior | Insight | Experience, about: str, sources: tuple[Node, ...] = (), more: int = 0
) -> Node:
    kind: str = entry.kind if isinstance(entry, Insight) else "behavior"
    if isinstance(entry, Experience):
        kind = "right" if entry.correct else "wrong"
    return Node(
        id=readable(entry.id),
        name=_short(entry.name, 80) if isinstance(entry, Behavior) else "",
        text=_short(entry.text, CHARACTERS),
        kind=kind,
        state=memory.state(entry),
        why=_short(memory.effects().why(entry.id), 300),
        about=about,
        sources=sources,
        more=max(0, more),
    )


def _problem(memory: Memory, name: str, insights: Sequence[Insight], prompts: Mapping[str, str]) -> Practised:
    passed = memory.effects().passed.get(name)
    solved = f", {percent(passed[1])} of its attempts right in step {passed[0] + 1}" if passed else ""
    about = f"{_times(len(insights), 'insight')}{solved}"
    return Practised(
        readable(name), _short(prompts.get(name, ""), CHARACTERS), about, tuple(_insight(memory, i) for i in insights)
    )


def _use(memory: Memory, entry_id: str) -> str:
    effects = memory.effects()
    said = f", read for {_times(effects.uses(entry_id), 'rollout')}" if effects.uses(entry_id) else ""
    if (tried := effects.tried(entry_id)).n:
        said += f", alone {1 + tried.mean:.2f} ± {tried.error:.2f} times as likely"
    return said


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _short(text: str, most: int) -> str:
    return cut(readable(text).strip(), most)


def _growth(memory: Memory, steps: int) -> str | None:
    """Live entries of each tier as an `<svg>`; None before two steps."""
    if steps < 2:
        return None

    def draw(figure: Any) -> None:
        for place, (tier, sizes) in zip(
            figure.subplots(1, len(TIERS)), memory.sizes(range(steps)).items(), strict=True
        ):
            place.step(range(1, steps + 1), sizes, where="post", linewidth=1.8)
            place.set_title(f"{tier}s", fontsize=10)
            place.set_xlabel("step", fontsize=9)
            place.set_ylim(bottom=0)
            place.grid(alpha=0.25)
            place.spines[["top", "right"]].set_visible(False)

    return as_svg(draw, width=11.5, height=2.6)
