"""What `import pmd_agent` offers. The text is that of the docstrings, which mkdocstrings reads."""

from __future__ import annotations

import pmd_agent

FIRST = ("Run", "RunMemory", "RunPolicy", "Recall")


def python_page() -> str:
    """An entry for each public name: runs first, then the others as they are spelt."""
    homes = pmd_agent._HOME
    names = [*FIRST, *sorted(set(homes) - {*FIRST, "Recipe"})]
    return "\n\n".join([*(f"::: {homes[name]}.{name}" for name in names), "::: pmd_agent.metrics"])
