"""pmd init DATA"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pmd_agent.problems.guess import Guess

LOOKED_AT = 1000
"""Rows that are looked at."""
TOKENS = {"multiple_choice": 1024, "exact": 1024, "math": 2048, "code": 4096}
"""Of a completion, by verifier."""


def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="JSONL, JSON, parquet or CSV with your problems.")],
    to: Annotated[Path | None, typer.Option(help="The recipe to write. Default: the data's name with .yaml.")] = None,
    model: Annotated[str, typer.Option(help="A name on the hub, or a folder.")] = "Qwen/Qwen2.5-1.5B-Instruct",
) -> None:
    """Look at a file of problems and write a recipe for it. Asks nothing, overwrites nothing."""
    from pmd_agent.console import Console
    from pmd_agent.errors import ProblemError, RecipeError
    from pmd_agent.problems import load_problems
    from pmd_agent.problems.guess import guess
    from pmd_agent.problems.sources import read_rows
    from pmd_agent.recipe import load_recipe
    from pmd_agent.runs.files import write_atomically

    console = Console()
    target = to or Path(f"{data.stem}.yaml")
    if target.exists():
        raise RecipeError(
            f"{target} is there already, and nothing is overwritten.", "Give another file with --to FILE."
        )
    rows = read_rows(data)
    found = guess(rows[:LOOKED_AT])
    if found.fields["prompt"] is None:
        raise ProblemError(f"No field of {data} holds text.", "A row needs a prompt and an answer: docs/problems.md.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, _recipe(data, target, model, found, len(rows)).encode())
    for role, field in found.fields.items():
        console.info(f"{role:<12} {field if field is not None else '(none)'}   {found.why.get(role, '')}".rstrip())
    console.info(f"{'verifier':<12} {found.verifier}   {found.why['verifier']}")
    console.info(f"written: {target}")
    try:
        sets = load_problems(load_recipe(target).problems)
        console.info(
            f"{len(sets.train)} problems to practise on, {len(sets.validation)} for validation, {len(sets.test)} to test"
        )
    except ProblemError as error:
        console.warn(f"these rows do not load yet: {error}")
        console.info(error.hint)
    console.info(f"Next: pmd problems {shlex.quote(str(target))}, and then pmd run {shlex.quote(str(target))}")


def _recipe(data: Path, target: Path, model: str, found: Guess, rows: int) -> str:
    """The recipe's text, each guess with its reason."""
    from pmd_agent.recipe.yaml import write_yaml

    def line(key: str, value: object, note: str = "") -> str:
        written = f"{key}: {json.dumps(value)}" if isinstance(value, list) else write_yaml({key: value}).strip()
        return f"  {written}" + (f" # {note}" if note else "")

    fields = [line(role, field, found.why.get(role, "")) for role, field in found.fields.items()]
    batch = max(1, min(32, rows * 3 // 4))
    name = "".join(c if c.isalnum() or c in "_-" else "-" for c in target.stem).strip("-_") or "mine"
    return "\n".join(
        [
            f"# Purpose   {rows} problems of {data.name}. Written by `pmd init` from the names and the first rows of the file:",
            "#           look at each line, and at `pmd problems`, before you run it.",
            "# Hardware  One GPU with 24 GB for a model of 1.5 billion parameters.",
            "#           On a laptop: policy.type=local policy.model=box steps=3",
            "# Time      Not measured. Try steps=5 first.",
            f"# Command   pmd problems {target}",
            f"#           pmd run {target}",
            f"#           SDPO, GRPO:    pmd run {target} method=sdpo --name {name}-sdpo",
            "# Expect    Not measured.",
            f"name: {name}",
            "epochs: 5",
            "problems:",
            "  type: file",
            line("path", str(data)),
            *fields,
            line(
                "verifier",
                found.verifier,
                f"{found.why['verifier']}; others: docs/problems.md",
            ),
            "policy:",
            "  type: vllm # local: in this process, slow",
            line("model", model),
            "  max_model_len: 8192 # prompt, memory and answer",
            "rollout:",
            f"  problems: {batch} # a step",
            "  samples: 8 # of each",
            f"  max_tokens: {TOKENS[found.verifier]}",
            "distill:",
            "  lr: 1e-4 # for LoRA",
            "evaluate:",
            "  samples: 4",
            "",
        ]
    )
