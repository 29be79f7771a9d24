"""What pages tell the reader to type exists: commands with their options, and keys of recipes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pmd_agent.cli import app
from pmd_agent.recipe import Recipe
from pmd_agent.recipe.keys import _all_keys

ROOT = Path(__file__).parents[2]
HISTORY = {"log.md", "results.md"}
"""They also tell of what has gone."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name not in HISTORY),
]
KEYS = {key for key, _ in _all_keys(Recipe, "")}
SECTIONS = {key.split(".")[0] for key in KEYS if "." in key}
KEY = re.compile(rf"(?<![\w./-])((?:{'|'.join(sorted(SECTIONS))})(?:\.[a-z_]+)+)(?![\w/(*{{])")
MAPPINGS = ("problems.where.",)
REMOVED = {"memory.lift.leave_out"}
"""Named where a page says that it was removed."""
FENCED = re.compile(r"^ *`{3,}(\w*)\n(.*?)^ *`{3,}$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[`\s(])pmd ((?:[a-z]+)(?: [^`\n|#&]*)?)", re.MULTILINE)


def code(page: Path) -> str:
    """All that is set as code, a line each."""
    text = page.read_text()
    blocks = FENCED.findall(text)
    shown = [block for language, block in blocks if language in ("", "sh", "bash", "yaml")]
    return "\n".join([*shown, *re.findall(r"`([^`\n]+)`", FENCED.sub("", text))])


def unknown_keys(text: str) -> Iterator[str]:
    for key in KEY.findall(text):
        if (
            key not in KEYS | REMOVED
            and not key.startswith(MAPPINGS)
            and not key.endswith((".md", ".py", ".yaml", ".jsonl", ".html"))
        ):
            yield key


def unknown_commands(text: str) -> Iterator[str]:
    """Commands, and options of those that are known."""
    for line in COMMAND.findall(text):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = line.split()
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if getattr(command, "commands", {}) and words and not words[0].startswith("-"):
            yield f"pmd {line}"
            continue
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        words = words[: words.index("--")] if "--" in words else words
        for word in words:
            if word.startswith("--") and word.partition("=")[0] not in options | {"--help"}:
                yield f"pmd {line}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_key_and_command_that_a_page_names_exists(page: Path) -> None:
    text = code(page)
    assert [*unknown_keys(text), *unknown_commands(text)] == []


def test_what_does_not_exist_is_found() -> None:
    text = "pmd run mine.yaml distill.lr=1 distill.rate=1 --resume --fast\npmd walk mine.yaml\npmd memory list RUN --tier x\npmd memory forget\n"
    assert list(unknown_keys(text)) == ["distill.rate"]
    assert [fault.split(": ")[-1] for fault in unknown_commands(text)] == [
        "--fast",
        "pmd walk mine.yaml",
        "pmd memory forget",
    ]
