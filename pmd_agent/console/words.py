"""Figures and texts as the console shows them: shares in percent, durations in seconds, minutes or hours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

# A policy writes what it likes: its text must not move the cursor or change the terminal's title.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def percent(share: float | None) -> str:
    """0.4125 -> 41.2%; a dash for None."""
    return "-" if share is None else f"{100 * share:.1f}%"


def duration(seconds: float) -> str:
    """2.7 s, 54 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


STAGES = {
    "attempt": "attempting", "verify": "checking", "remember": "remembering", "reflect": "reflecting",
    "generalise": "generalising", "optimise": "tuning the reflector", "tidy": "tidying the memory", "recall": "recalling",
    "teacher_prompts": "writing what the teacher reads", "distil": "distilling", "weigh": "weighing memories",
    "sync": "loading the new weights", "evaluate": "validating",
}  # fmt: skip
"""What is done in each stage of a step, for whoever waits."""

_STEP_FORMS: dict[str, Callable[[float], str]] = {
    "loss": lambda nats: f"loss {nats:.4f}" if nats == 0 or abs(nats) >= 0.001 else f"loss {nats:.1e}",
    "reward": lambda mean: f"reward {mean:.2f}",
    "correct": lambda share: f"right {100 * share:.0f}%",
    "unchecked": lambda count: f"unchecked {count:.0f}" if count else "",
    "context_fraction": lambda share: f"taught {100 * share:.0f}%",
    "insights_written": lambda count: f"insights +{count:.0f}",
    "behaviors": lambda count: f"behaviors {count:.0f}",
    "validation": lambda share: f"validation {percent(share)}",
    "validation_unchecked": lambda share: f"({percent(share)} of it unchecked)" if share else "",
}


def step_parts(metrics: Mapping[str, Any]) -> list[str]:
    """What a step line says of the metrics that are there."""
    values = ((form, figure(metrics, key)) for key, form in _STEP_FORMS.items())
    return [text for form, value in values if value is not None and (text := form(value))]


def fitted(parts: Sequence[str], width: int) -> str:
    """Parts with dots between them, in as many lines as they need, and none of them cut in two."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if lines[-1] and cell_len(longer) > width:
            lines.append(f"  {part}")
        else:
            lines[-1] = longer
    return "\n".join(lines)


def figure(metrics: Mapping[str, Any], key: str) -> float | None:
    value = metrics.get(key)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def gained(name: str, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return f"{name:<16} {percent(after)}"
    return f"{name:<16} {percent(before)} -> {percent(after)}   {100 * (after - before):+.1f} points"


def not_checked(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Which answers the line above leaves out, and what it would be with them as wrong; empty where none is left out."""
    shares = [of.get("unchecked_share") for of in (before, after)]
    if not any(shares):
        return ""
    names = ", ".join(f"{percent(share)} {when}" for when, share in zip(("before", "after"), shares, strict=True))
    least = f"{percent(before.get('avg_as_wrong'))} -> {percent(after.get('avg_as_wrong'))}"
    return f"{'not checked':<16} {names} of the answers, left out above; counted as wrong: {least}"


def as_cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else " ".join(str(value).split())


def safe(text: str) -> str:
    """Control characters, those that turn the direction of writing, and lone surrogates made visible."""
    visible = _CONTROL.sub(
        lambda found: f"\\u{ord(found[0]):04x}" if ord(found[0]) > 0xFF else f"\\x{ord(found[0]):02x}", text
    )
    return visible.encode("utf-8", "backslashreplace").decode("utf-8")
