"""Every figure that a step reports, from the list that the code keeps of them."""

from __future__ import annotations

from pmd_agent.evaluation.gauges import GAUGES


def metrics_page() -> str:
    """A table for each group."""
    lines: list[str] = []
    for group, gauges in GAUGES.items():
        lines += ["", f"## {group}", "", "| key | what |", "|---|---|"]
        lines += [f"| `{name}` | {' '.join(text.split())} |" for name, text in gauges.items()]
    return "\n".join(lines)
