"""Help answers at once, because it imports nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "dspy", "transformers", "chromadb", "numpy", "sklearn", "peft", "litellm", "datasets", "uvicorn")

COMMANDS = [
    [], ["run"], ["problems"], ["evaluate"], ["export"], ["schema"],
    ["memory"], ["memory", "list"], ["memory", "show"], ["memory", "search"], ["memory", "recall"], ["memory", "taught"],
    ["memory", "lift"], ["memory", "report"], ["memory", "export"], ["memory", "import"],
    ["bench"], ["bench", "distill"], ["compare"], ["sweep"], ["report"], ["watch"], ["chat"], ["push"],
]  # fmt: skip

CHECK = """
import sys
from pmd_agent.cli import main
heavy = set(sys.argv.pop().split(","))
sys.argv[0] = "pmd"
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
loaded = sorted({name.split(".")[0] for name in sys.modules} & heavy)
print("loaded:", loaded)
"""


def loaded(*arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", CHECK, *arguments, ",".join(HEAVY)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    text, _, modules = done.stdout.rpartition("loaded: ")
    return text, modules.strip()


def test_help_imports_nothing_heavy() -> None:
    text, modules = loaded("--help")
    assert modules == "[]"
    for command in ("run", "problems", "evaluate", "export", "schema", "memory", "bench", "compare", "sweep"):
        assert f"  {command}" in text


def test_schema_and_version_import_nothing_heavy() -> None:
    assert loaded("schema")[1] == "[]" and loaded("--version")[1] == "[]"


def test_help_takes_less_than_half_a_second() -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "pmd_agent", "--help"], capture_output=True, check=True, timeout=60)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # The processor's time, and the best of several: what is measured is the program, not what else the machine does.
    best = min(seconds() for _ in range(5))
    assert best < 0.5


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    text, modules = loaded(*command, "--help")
    assert text.startswith(f"Usage: pmd {' '.join(command)}".strip()) and modules == "[]"
    sentence = text.split("\n\n")[1].strip()
    assert len(sentence) > 15 and "." in sentence
