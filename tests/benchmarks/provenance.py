"""What a run's memory says of its world, against what is true there: share of true rules, operators covered.

    python -m tests.benchmarks.provenance RUN ...

Of runs of problems.type=world. Judged are the rules that each generalisation wrote, not those alone that are alive at the end: a
policy that loses its programs late would hide what they were before. A line for each run, and one for all.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pmd_agent.memory import Memory
from pmd_agent.memory.embedders import HashingEmbedder
from pmd_agent.problems.world import RULES, World
from pmd_agent.recipe import load_recipe
from pmd_agent.types import Behavior

SAYS = re.compile(rf"\b([a-z]{{3,4}}) ({'|'.join(RULES)})\b")
DENIES = re.compile(r"\b(never|not|avoid)\b", re.IGNORECASE)


@dataclass
class Judged:
    """Rules of some generalisations."""

    written: int = 0
    true: int = 0
    empty: int = 0
    """Rules that name no operator of the world with a meaning."""
    covered: list[int] = field(default_factory=list)
    """Of each generalisation: operators whose meaning one of its rules tells."""

    def __add__(self, other: Judged) -> Judged:
        return Judged(
            self.written + other.written, self.true + other.true, self.empty + other.empty, self.covered + other.covered
        )

    def __str__(self) -> str:
        share = self.true / max(1, self.written)
        return (
            f"{self.written} rules in {len(self.covered)} generalisations, {share:.1%} true, {self.empty} of no content; "
            f"{sum(self.covered) / max(1, len(self.covered)):.1f} operators covered by each on average"
        )


def judge(text: str, world: World) -> tuple[bool | None, frozenset[str]]:
    """Whether a rule is true (None: it says nothing of the world), and the operators whose meaning it tells.

    A rule that denies is true where what it denies is false, and tells no meaning.
    """
    claims = [(name, rule) for name, rule in SAYS.findall(text) if name in world.meaning]
    if not claims:
        return None, frozenset()
    denies = bool(DENIES.search(text))
    true = all((world.meaning[name] == rule) is not denies for name, rule in claims)
    return true, frozenset(name for name, _ in claims) if true and not denies else frozenset()


def judged(run: Path) -> Judged:
    """All that the run's generalisations wrote, by the texts that memory has of it."""
    recipe = load_recipe(run / "recipe.yaml")
    world = World.create(getattr(recipe.problems, "seed", 0))
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        rules = [each for each in memory.list("behavior", include_archived=True) if isinstance(each, Behavior)]
    texts = {i: rule.text for rule in rules for i in (rule.id, *rule.merged)}
    found = Judged()
    steps = sorted((run / "programs").glob("step-*.jsonl"))
    for number, file in enumerate(steps, 1):
        if number % recipe.pipeline.every and number != len(steps):
            continue
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        wrote = [texts[i] for row in rows for i in row.get("wrote", ()) if i in texts]
        verdicts = [judge(text, world) for text in wrote]
        found += Judged(
            len(wrote),
            sum(true is True for true, _ in verdicts),
            sum(true is None for true, _ in verdicts),
            [len(frozenset[str]().union(*(names for _, names in verdicts)))],
        )
    return found


def main() -> None:
    total = Judged()
    for run in map(Path, sys.argv[1:]):
        found = judged(run)
        total += found
        print(f"{run.name}: {found}")
    print(f"all: {total}")


if __name__ == "__main__":
    main()
