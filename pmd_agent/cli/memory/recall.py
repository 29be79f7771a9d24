"""pmd memory recall | taught: what a teacher would read and why, and what one has read."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.cli.memory.common import Run, about, opened

if TYPE_CHECKING:
    from pmd_agent.console import Console
    from pmd_agent.recipe import Recipe
    from pmd_agent.types import Problem


def recall(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem's text, or the id of one of the run's.")],
) -> None:
    """What the teacher would read beside a problem, and why each memory is in it or not."""
    from pmd_agent.console import Console
    from pmd_agent.distillation.teacher_prompt import teacher_page
    from pmd_agent.memory import recall as recall_all
    from pmd_agent.stages import wanted

    console = Console()
    with opened(run) as (directory, memory):
        recipe = directory.recipe
        problem = _problem(recipe, text, console)
        (found,) = recall_all(memory, [problem], [[]], wanted(recipe, directory.next_step))
        count, special_tokens = _reader(recipe)
        budget = recipe.memory.max_tokens
        page = teacher_page(found.context, None, max_tokens=budget, count_tokens=count, special_tokens=special_tokens)
        text = page.messages[-1]["content"]
        console.info(text)
        console.info("")
        lift = recipe.memory.lift
        some = {e.id: lift.untried if lift.trial else 0.0 for e in found.on_trial}
        rows = []
        for choice in found.choices:
            chosen = choice.chosen and choice.id in page.shown
            # In evaluation, as here, the first demonstration alone is read.
            spare = choice.chosen and choice.id not in (*page.shown, *page.dropped)
            why = choice.why + (", another solution is read" if spare else "")
            why += f", but over memory.max_tokens={budget}" if choice.id in page.dropped else ""
            share = some.get(choice.id, 0.0)
            by = "read" if chosen else f"{100 * share:.0f} %" if share else "-"
            rows.append((by, choice.tier, choice.id, why))
        if rows:
            console.table(["", "tier", "id", "why"], sorted(rows, key=lambda row: (row[0] != "read", row[0] == "-")))
            if any(row[0].endswith("%") for row in rows):
                console.info("a percentage: the share of teachers that read it all the same (memory.lift)")
        else:
            console.info("memory holds nothing for it")
        console.info(f"{count(text)} of {budget} tokens")


def taught(run: Run, rollout: Annotated[str, typer.Argument(metavar="ROLLOUT", help="STEP/PROBLEM/SAMPLE")]) -> None:
    """The memories that one rollout's teacher read."""
    from pmd_agent.console import Console
    from pmd_agent.errors import RunError
    from pmd_agent.memory.backend.codec import tier_of

    console = Console()
    with opened(run) as (directory, memory):
        near: list[str] = []
        for path in sorted((directory.path / "rollouts").glob("step-*.jsonl")):
            rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
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


def _problem(recipe: Recipe, text: str, console: Console) -> Problem:
    """The run's problem of that id or prompt; any other text is a problem that memory knows nothing of by itself."""
    from pmd_agent.types import Problem

    same = [
        p for p in problems_of(recipe, console) if p.id == text or " ".join(p.prompt.split()) == " ".join(text.split())
    ]
    return same[0] if same else Problem("", text)


def problems_of(recipe: Recipe, console: Console) -> list[Problem]:
    """All of a run's problems; none, and a warning, where they cannot be read any more."""
    from pmd_agent.errors import PMDError
    from pmd_agent.problems import load_problems

    try:
        sets = load_problems(recipe.problems)
    except PMDError as error:
        console.warn(f"the run's problems cannot be read ({error.message}), so their texts are not known")
        return []
    return [*sets.train, *sets.validation, *sets.test]


def _reader(recipe: Recipe) -> tuple[Callable[[str], int], frozenset[str]]:
    """How the run's policy counts tokens, and its special ones. A scripted one counts bytes."""
    if recipe.policy.type == "scripted":
        return lambda text: len(text.encode("utf-8", "replace")), frozenset()
    from pmd_agent.models.loading import load_tokenizer
    from pmd_agent.policies.base import special_tokens_of

    tokenizer = load_tokenizer(recipe.policy.model)
    return lambda text: len(tokenizer(text, add_special_tokens=False).input_ids), special_tokens_of(tokenizer)
