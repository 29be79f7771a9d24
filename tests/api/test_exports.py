"""What `pmd_agent` exports, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
import time

import pmd_agent

EXPORTED = {
    "Behavior", "Experience", "Insight", "PMDError", "Problem", "Recall", "Recipe", "Rollout", "Run", "RunMemory", "RunPolicy",
    "Step", "Verdict", "load_recipe", "metrics", "parse_recipe", "start",
}  # fmt: skip
RUN = {
    "close", "create", "directory", "evaluate", "export", "finish", "finished", "memory", "metrics", "next_step", "open", "path",
    "policy", "reflections", "reflector", "summary",
}  # fmt: skip
HEAVY = ("torch", "dspy", "transformers", "chromadb", "numpy", "peft", "litellm")


def test_the_exported_names() -> None:
    assert set(pmd_agent.__all__) == EXPORTED and set(dir(pmd_agent)) >= EXPORTED
    assert all(getattr(pmd_agent, name).__name__.removeprefix("pmd_agent.") == name for name in EXPORTED)
    assert {name for name in vars(pmd_agent.Run) if not name.startswith("_")} == RUN


def test_importing_it_loads_nothing_heavy() -> None:
    code = f"import sys, pmd_agent; pmd_agent.Run; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_importing_it_takes_less_than_a_third_of_a_second() -> None:
    def seconds(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    # The best of several: what is measured is the import, not what else the machine does, nor Python's own start.
    assert min(seconds("import pmd_agent") - seconds("pass") for _ in range(5)) < 0.3
