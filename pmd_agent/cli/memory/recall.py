"""pmd memory recall | taught: what a teacher would read and why, and what one has read."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from pmd_agent.cli.arguments import Run
from pmd_agent.cli.memory.common import about, opened


def recall(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem's text, or the id of one of the run's.")],
) -> None:
    """What the teacher would read beside a problem, and why each memory is in it or not."""
    from pmd_agent.assembly.run_memory import RunMemory
    from pmd_agent.console import Console
    from pmd_agent.runs.folder import RunDir

    console = Console()
    with RunMemory(RunDir.open(run), warn=console.warn) as memory:
        found = memory.recall(text)
    console.info(found.text)
    console.info("")
    if found.why:
        reads = [{0.0: "-", 1.0: "read"}.get(each.share, f"{100 * each.share:.0f} %") for each in found.why]
        rows = [(by, each.tier, each.id, each.why) for by, each in zip(reads, found.why, strict=True)]
        console.table(["", "tier", "id", "why"], rows)
        if any(by.endswith("%") for by in reads):
            console.info("a percentage: the share of teachers that read it all the same (memory.lift)")
    else:
        console.info("memory holds nothing for it")
    console.info(f"{found.tokens} of {found.budget} tokens")


def taught(run: Run, rollout: Annotated[str, typer.Argument(metavar="ROLLOUT", help="STEP/PROBLEM/SAMPLE")]) -> None:
    """The memories that one rollout's teacher read."""
    from pmd_agent.console import Console
    from pmd_agent.errors import RunError
    from pmd_agent.memory.backend.codec import tier_of
    from pmd_agent.runs.read_lines import read_lines

    console = Console()
    with opened(run) as (directory, memory):
        near: list[str] = []
        for path in sorted((directory.path / "rollouts").glob("step-*.jsonl")):
            rows = list(read_lines(path))
            row = next((row for row in rows if row["id"] == rollout), None)
            if row is not None:
                break
            near += difflib.get_close_matches(rollout, [row["id"] for row in rows], 1, 0.8)
        else:
            hint = f"Did you mean {near[-1]}?" if near else "rollouts/step-*.jsonl has their ids, STEP/PROBLEM/SAMPLE."
            raise RunError(f"{directory.path} has no rollout {rollout}.", hint)
        verdict = {True: "right", False: "wrong", None: "not checked"}[row["correct"]]
        ids = row.get("taught_by", [])
        console.info(f"rollout {rollout} · {verdict} · policy version {row['policy_version']} · {len(ids)} memories")
        table = []
        for entry_id in ids:
            entry = memory.get(entry_id)
            if entry is None:
                table.append(("-", entry_id, "", "no longer stored"))
            else:
                table.append((tier_of(entry), entry_id, about(entry), " ".join(entry.text.split())[:160]))
        if table:
            console.table(["tier", "id", "about", "text"], table)
