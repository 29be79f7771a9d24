"""pmd memory list | show | search | lift | report"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmd_agent.cli.arguments import Run
from pmd_agent.cli.memory.common import OfTier, about, opened
from pmd_agent.cli.memory.prompt import Prompts
from pmd_agent.types import TIERS, Behavior, Insight

if TYPE_CHECKING:
    from pmd_agent.memory import Entry, Memory

LINE = 160
"""Characters of a text that a list shows."""
SOURCE = 600
"""Characters of an attempt that is shown as a source."""


def list_(
    run: Run, tier: OfTier = None, limit: Annotated[int, typer.Option(min=1, help="Entries of each tier.")] = 20
) -> None:
    """The live entries, newest first."""
    from pmd_agent.console import Console

    console = Console()
    with opened(run) as (_, memory):
        for each in [tier] if tier else reversed(TIERS):
            entries = memory.list(each)
            more = f", the newest {limit}" if len(entries) > limit else ""
            console.info(f"{each}: {len(entries)}{more}")
            if entries:
                console.table(["id", "step", "about", "text"], [_row(entry) for entry in entries[:limit]])


def show(
    run: Run,
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` or `search` shows it.")],
    prompt: Annotated[
        bool, typer.Option("--prompt", help="The messages that it was made from, and the answer.")
    ] = False,
) -> None:
    """One entry, and what it was made from, down to the attempts; with --prompt also in the words that were sent."""
    from pmd_agent.console import Console
    from pmd_agent.errors import MemoryStoreError

    console = Console()
    with opened(run) as (directory, memory):
        entry = memory.get(entry_id) or _merged_into(memory, entry_id)
        if entry is None:
            ids = [e.id for each in TIERS for e in memory.list(each, include_archived=True)]
            near = difflib.get_close_matches(entry_id, ids, 3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"`pmd memory list {run}` shows what there is."
            raise MemoryStoreError(f"{directory.path} remembers nothing of the id {entry_id}.", hint)
        if entry.id != entry_id:
            console.info(f"{entry_id} said the same as {entry.id}, and was merged into it")
        prompts = Prompts(directory, memory)
        for line in (*_tree(memory, prompts, entry, depth=0), *(prompts.lines(entry, entry_id) if prompt else ())):
            console.info(line)


def search(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    tier: OfTier = None,
    k: Annotated[int, typer.Option("-k", min=1, help="So many entries.")] = 10,
) -> None:
    """The live entries that are most like a text."""
    from pmd_agent.console import Console

    console = Console()
    with opened(run) as (_, memory):
        hits = memory.search(text, tier, k)
        rows = [(round(near, 3), found, *_row(entry)) for found, entry, near in hits]
    if rows:
        console.table(["similarity", "tier", "id", "step", "about", "text"], rows)
    else:
        console.info("nothing is like it")


def lift(
    run: Run, limit: Annotated[int, typer.Option(min=1, help="So many of the worst and of the best.")] = 10
) -> None:
    """What each memory did to the teacher when it was tried alone (memory.lift.trial), the worst first."""
    from pmd_agent.console import Console

    console = Console()
    with opened(run) as (_, memory):
        effects = memory.effects()
        rows = []
        for name in effects.all_tried():
            t, entry = effects.tried(name), memory.get(name)
            text = " ".join(entry.text.split())[:LINE] if entry else ""
            rows.append((t.mean, (name, effects.state(name), f"{1 + t.mean:.2f}", f"{t.error:.2f}", round(t.n), text)))
    if rows:
        console.table(["id", "state", "times as likely", "±", "n", "text"], _ends(rows, limit))
    else:
        console.info("nothing was tried: memory.lift.trial is 0, or no step has ended yet")


def report(
    run: Run,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="An HTML page; it is replaced where it is there.")],
) -> None:
    """All of it on one page that loads nothing: rules, what they were made from, and the attempts behind them."""
    from pmd_agent.assembly.run_memory import known_problems
    from pmd_agent.console import Console
    from pmd_agent.errors import MemoryStoreError
    from pmd_agent.reports.memory_page import memory_page
    from pmd_agent.runs.files import write_atomically

    console = Console()
    with opened(run) as (directory, memory), console.stage("looking up what each memory was made from"):
        page = memory_page(directory, memory, {p.id: p.prompt for p in known_problems(directory, console.warn)})
    try:
        write_atomically(to, page.encode("utf-8", "replace"))
    except OSError as error:
        raise MemoryStoreError(f"{to} cannot be written: {error.strerror or error}.", "Name another file.") from error
    console.info(f"{to}: open it in a browser")


def _ends(rows: list[tuple[float, tuple[Any, ...]]], limit: int) -> list[tuple[Any, ...]]:
    """So many of the lowest and of the highest, without the number that they are sorted by."""
    rows.sort(key=lambda row: row[0])
    return [cells for _, cells in (rows if len(rows) <= 2 * limit else [*rows[:limit], *rows[-limit:]])]


def _row(entry: Entry) -> tuple[str, int, str, str]:
    text = " ".join(entry.text.split())
    return entry.id, entry.step + 1, about(entry), text if len(text) <= LINE else text[: LINE - 3] + "..."


def _merged_into(memory: Memory, entry_id: str) -> Entry | None:
    """The entry that a later one, which was not kept, said the same as."""
    entries = (e for tier in TIERS[1:] for e in memory.list(tier, include_archived=True))
    return next((e for e in entries if entry_id in getattr(e, "merged", ())), None)


def _tree(memory: Memory, prompts: Prompts, entry: Entry, depth: int) -> Iterator[str]:
    """An entry's lines, and its sources' lines under it."""
    retired = memory.retired_at(entry)
    facts = {
        "id": entry.id,
        "step": entry.step + 1,
        "policy version": entry.policy_version,
        **_facts(entry),
        **prompts.where(entry),
        **({"retired at step": retired + 1} if retired is not None else {}),
        **_effects(memory, entry),
    }
    indent = "    " * depth
    tier = "behavior" if isinstance(entry, Behavior) else "insight" if isinstance(entry, Insight) else "experience"
    yield f"{indent}{tier} " + " · ".join(f"{name} {value}" for name, value in facts.items())
    cut = entry.text if depth == 0 or len(entry.text) <= SOURCE else entry.text[:SOURCE] + " ..."
    yield from (f"{indent}  {line}" for line in cut.splitlines())
    sources = memory.sources_of(entry)
    for source in sources:
        yield from _tree(memory, prompts, source, depth + 1)
    missing = len(set(getattr(entry, "sources", ()))) - len(sources)
    if missing > 0:
        yield f"{indent}    {missing} more that are no longer stored"


def _effects(memory: Memory, entry: Entry) -> dict[str, object]:
    """How it fared so far; nothing where nothing is known."""
    effects = memory.effects()
    facts: dict[str, object] = {}
    if uses := effects.uses(entry.id):
        facts["read in teaching"] = uses
    if (tried := effects.tried(entry.id)).n >= 2:
        facts["alone"] = f"correct rollouts {1 + tried.mean:.2f} ± {tried.error:.2f} times as likely"
    if why := effects.why(entry.id):
        facts[effects.state(entry.id)] = why
    return facts


def _facts(entry: Entry) -> dict[str, object]:
    """What only this tier has."""
    facts: dict[str, object]
    if isinstance(entry, Behavior):
        return {"name": entry.name, "cluster": entry.cluster, "support": entry.support_in_words, **_written(entry)}
    if isinstance(entry, Insight):
        facts = {"problem": entry.problem_id, "kind": entry.kind, "confidence": round(entry.confidence, 3)}
        return facts | {"support": entry.support, **_written(entry)}
    facts = {"problem": entry.problem_id, "reward": round(entry.reward, 3), "answer": entry.answer}
    if entry.feedback:
        facts["feedback"] = json.dumps(entry.feedback, ensure_ascii=False)
    return facts | {"rollout in": f"rollouts/step-{entry.step:06d}.jsonl"}


def _written(entry: Insight | Behavior) -> dict[str, object]:
    facts: dict[str, object] = {"program": entry.program} if entry.program else {}
    return facts | ({"also said as": ", ".join(entry.merged)} if entry.merged else {})
