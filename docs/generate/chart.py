"""The chart of results: docs/charts/results.json as docs/charts/results.svg.

python -m docs.generate.chart                                                # draw again what the file has
pmd compare runs/mechanism --json | python -m docs.generate.chart --read     # take a comparison's numbers first
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

CHARTS = Path(__file__).parents[1] / "charts"
NAMES = {"base": "before training", "grpo": "GRPO", "sdpo": "SDPO", "sdpo-slower": "SDPO", "pmd": "PMD"}
"""The arms that are shown, and how they are called; of SDPO's two rates the better one."""
ESTIMATE = re.compile(r"([\d.]+) \[([\d.]+), ([\d.]+)\]")
WIDTH, LEFT, RIGHT, TOP, ROW = 640, 168, 44, 96, 52

STYLE = """
    .back { fill: #ffffff; stroke: #d5dbe1; }
    .grid { stroke: #e3e7eb; }
    .bar { stroke: #8a959f; stroke-width: 4; stroke-linecap: round; }
    .dot { fill: #5b6570; }
    .pmd .bar { stroke: #1f5f8b; } .pmd .dot { fill: #1f5f8b; }
    text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1d2730; font-size: 16px; }
    .title { font-size: 18px; font-weight: 650; } .small { font-size: 14px; fill: #4a5560; } .value { font-weight: 650; }
    @media (prefers-color-scheme: dark) {
      .back { fill: #151b21; stroke: #323c46; } .grid { stroke: #2b343d; }
      .bar { stroke: #87939e; } .dot { fill: #b9c4ce; }
      .pmd .bar { stroke: #7cc0ee; } .pmd .dot { fill: #7cc0ee; }
      text { fill: #eef3f7; } .small { fill: #b9c4ce; }
    }
"""


def main() -> None:
    """Read a comparison where that is asked for, and draw."""
    path = CHARTS / "results.json"
    data = json.loads(path.read_text("utf-8"))
    if "--read" in sys.argv[1:]:
        data["arms"] = arms_of(json.load(sys.stdin))
        path.write_text(as_json(data), "utf-8")
    (CHARTS / "results.svg").write_text(drawn(data), "utf-8")


def arms_of(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """The shown arms of a comparison's first table, the worst first; of two with one name the better one."""
    found: dict[str, dict[str, Any]] = {}
    for row in comparison["tables"][0]["rows"]:
        (value,) = (
            cell for column, cell in row.items() if column.startswith("avg@") and column.endswith("memory-free")
        )
        if row["arm"] not in NAMES or not (numbers := ESTIMATE.match(value or "")):
            continue
        arm = {"name": row["arm"], "seeds": row["seeds"]}
        arm |= dict(zip(("mean", "low", "high"), map(float, numbers.groups()), strict=True))
        label = NAMES[row["arm"]]
        if label not in found or arm["mean"] > found[label]["mean"]:
            found[label] = arm
    return sorted(found.values(), key=lambda arm: float(arm["mean"]))


def as_json(data: dict[str, Any]) -> str:
    """An arm a line."""
    head = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in data.items() if key != "arms"]
    arms = ",\n".join(f"    {json.dumps(arm)}" for arm in data["arms"])
    return "\n".join(["{", *head, '  "arms": [', arms, "  ]", "}", ""])


def drawn(data: dict[str, Any]) -> str:
    """A point and its interval for each arm, as SVG that fits the reader's light or dark theme."""
    arms, height = data["arms"], TOP + ROW * len(data["arms"]) + 62
    said = "; ".join(f"{NAMES[a['name']]} {a['mean']:.1f} % [{a['low']:.1f}, {a['high']:.1f}]" for a in arms)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        'aria-labelledby="t d">',
        f'  <title id="t">{escape(data["what"])}</title>',
        f'  <desc id="d">{escape(said)}</desc>',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="back" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="16"/>',
        f'  <text class="title" x="24" y="38">{escape(data["what"])}</text>',
        *(
            f'  <text class="small" x="24" y="{62 + 19 * i}">{escape(text)}</text>'
            for i, text in enumerate(_wrapped(data["note"]))
        ),
        *_axis(height - 40),
        *(line for i, arm in enumerate(arms) for line in _arm(arm, TOP + ROW * i + 40)),
        "</svg>",
    ]
    return "\n".join([*lines, ""])


def _wrapped(text: str, width: int = 86) -> list[str]:
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f"{word} "
    return [line.strip() for line in lines]


def _x(percent: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * percent / 100, 1)


def _axis(bottom: int) -> Iterator[str]:
    for percent in range(0, 101, 25):
        yield f'  <line class="grid" x1="{_x(percent)}" x2="{_x(percent)}" y1="{TOP + 8}" y2="{bottom}"/>'
        yield f'  <text class="small" x="{_x(percent)}" y="{bottom + 20}" text-anchor="middle">{percent} %</text>'


def _arm(arm: dict[str, Any], y: int) -> Iterator[str]:
    worlds = f"{arm['seeds']} worlds"
    yield f'  <g class="{arm["name"]}">'
    yield f'    <text x="24" y="{y - 2}">{escape(NAMES[arm["name"]])}</text>'
    yield f'    <text class="small" x="24" y="{y + 16}">{worlds}</text>'
    yield f'    <line class="bar" x1="{_x(arm["low"])}" x2="{_x(arm["high"])}" y1="{y}" y2="{y}"/>'
    yield f'    <circle class="dot" cx="{_x(arm["mean"])}" cy="{y}" r="8"/>'
    yield f'    <text class="value" x="{_x(arm["mean"])}" y="{y - 15}" text-anchor="middle">{arm["mean"]:.1f}</text>'
    yield "  </g>"


if __name__ == "__main__":
    main()
