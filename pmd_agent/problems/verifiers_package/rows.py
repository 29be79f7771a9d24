"""The problems of an environment of verifiers: the rows of its datasets, in their order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.split import Split
from pmd_agent.problems.verifiers_package.bridge import Bridge, worker_of
from pmd_agent.recipe.worlds import VerifiersProblems
from pmd_agent.types import Problem


def load(*, train: int, validation: int, test: int, **section: Any) -> Split:
    """At most so many of each. Tests are the environment's own where it has some, else held out. Raises ProblemError."""
    asked = VerifiersProblems(train=train, validation=validation, test=test, **section)
    rows = bridge_of(asked).loaded()["rows"]
    practised = [_problem(asked.name, "train", n, row) for n, row in enumerate(rows["train"])]
    own = [_problem(asked.name, "eval", n, row) for n, row in enumerate(rows["eval"])]
    held = validation if own else validation + test
    if len(practised) <= held:
        raise ProblemError(
            f"The environment {asked.name} has {len(practised)} problems to practise, and {held} are held out.",
            "Lower problems.test and problems.validation, or give it more by problems.arguments.",
        )
    tested = own[:test] if own else practised[:test]
    rest = practised if own else practised[test:]
    return Split(tuple(rest[validation:][:train]), tuple(tested), validation=tuple(rest[:validation]))


def bridge_of(section: VerifiersProblems) -> Bridge:
    """The worker that has this section's environment."""
    rows = section.train + section.validation + section.test
    arguments = json.dumps(section.arguments, sort_keys=True)
    return worker_of(str(section.python or ""), section.name, arguments, rows, section.start_seconds)


def _problem(name: str, split: str, index: int, row: Mapping[str, Any]) -> Problem:
    def said(*roles: str) -> list[str]:
        messages: Sequence[Mapping[str, Any]] = row["prompt"]
        return [text_of(m.get("content")) for m in messages if m.get("role") in roles]

    asked = said("user") or [""]
    return Problem(
        f"{name}/{split}/{index:05d}",
        asked[-1],
        row["answer"] or None,
        "\n\n".join(said("system")),
        "" if row["task"] in ("", "default", name) else row["task"],
        data={"split": split, "index": index},
    )


def text_of(content: Any) -> str:
    """Of a message of OpenAI's, whose content may be a list of parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)
