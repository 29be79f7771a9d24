"""Everything a terminal shows, and the only module that prints.

One plain line an event; colours and a spinner only on a terminal. Once a run's log is attached, every line goes there
too. Shares are shown in percent, durations in seconds, minutes or hours.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console as Terminal
from rich.text import Text

from pmd_agent.errors import OutputError, PMDError
from pmd_agent.runs.disk import writing
from pmd_agent.runs.files import append

# A policy writes what it likes: its text must not move the cursor or change the terminal's title.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Console:
    """Writes to standard output, and errors and warnings to standard error, unless other streams are given."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = Terminal(file=out or sys.stdout, highlight=False, markup=False, emoji=False)
        self._err = Terminal(file=err or sys.stderr, highlight=False, markup=False, emoji=False)
        self._log: Path | None = None
        self._before_log: list[str] = []
        self._first_step: int | None = None
        self._seconds = 0.0
        self._spinning = False

    def attach(self, path: Path) -> None:
        """Append every line to this file, also those written so far."""
        self._log = path
        lines, self._before_log = self._before_log, []
        for line in lines:
            self._append(line)

    # ---- lines

    def info(self, text: str) -> None:
        """A line to read."""
        self._write(self._out, text)

    def warn(self, text: str) -> None:
        """Something that may not be as wanted, on standard error."""
        self._write(self._err, f"warning: {text}", "yellow")

    def error(self, error: PMDError) -> None:
        """What failed and what to type, on standard error."""
        self._write(self._err, f"error: {error.message}", "bold red")
        if error.hint:
            self._write(self._err, f"  {error.hint}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Aligned columns, numbers to the right. On a terminal, lines end at its edge."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
        to_right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))]
        for number, row in enumerate([list(columns), *cells]):
            padded = [
                " " * (width - cell_len(cell)) + cell if right else cell + " " * (width - cell_len(cell))
                for cell, width, right in zip(row, widths, to_right, strict=True)
            ]
            line = Text(_safe("  ".join(padded).rstrip()))
            if self._out.is_terminal:
                line.truncate(self._out.width, overflow="ellipsis")
            self._write(self._out, line.plain, "" if number else "bold")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Something that takes long: a spinner on a terminal, one line elsewhere."""
        if self._spinning or not self._out.is_terminal:
            self.info(f"{name} ...")
            yield
            return
        self._append(f"{name} ...")
        self._spinning = True
        try:
            with self._out.status(Text(_safe(name))):
                yield
        finally:
            self._spinning = False

    # ---- a run

    def step(self, step: int, steps: int, metrics: Mapping[str, Any], seconds_so_far: float | None = None) -> None:
        """One line for step number `step`, the first being 0. Metrics that are missing, None or NaN are left out.

        `seconds_so_far` are those of this process, for the time that is left; by default, the sum of `seconds`.
        """
        if self._first_step is None:
            self._first_step = step
        seconds = _number(metrics, "seconds")
        self._seconds += seconds or 0.0
        spent = self._seconds if seconds_so_far is None else seconds_so_far
        done, left = step + 1 - self._first_step, steps - step - 1
        parts = [f"step {step + 1:>{len(str(steps)) + 1}}/{steps}", *_step_parts(metrics)]
        if seconds is not None:
            parts.append(duration(seconds))
        if spent and left > 0 and done > 0:
            parts.append(f"eta {duration(spent / done * left)}")
        self._write(self._out, " · ".join(parts))

    def evaluation(self, title: str, result: Mapping[str, Any]) -> None:
        """One line of accuracies: over all problems, then avg@k by kind. `result` is what `accuracy` returns."""
        k = result.get("k") or 0
        parts = [f"{name}@{k} {percent(result.get(name))}" for name in ("avg", "pass", "maj")]
        parts += [f"{kind} {percent(means.get('avg'))}" for kind, means in (result.get("by_kind") or {}).items()]
        parts.append(f"{result.get('problems', 0)} problems")
        if result.get("unchecked"):
            share, least = result.get("unchecked_share"), result.get("avg_as_wrong")
            of = "" if share is None else f" ({percent(share)} of them; counted as wrong, avg is {percent(least)})"
            parts.append(f"{result['unchecked']} answers unchecked{of}")
        self._write(self._out, f"{title.replace('_', ' ')}: " + " · ".join(parts), "bold")

    def summary(self, summary: Mapping[str, Any], run_path: Path) -> None:
        """The last lines: what was gained, where things are, what to type next."""
        base, final = summary.get("base") or {}, summary.get("final") or {}
        kinds = (final.get("detail") or {}).get("by_kind") or {}
        base_kinds = (base.get("detail") or {}).get("by_kind") or {}
        if final.get("free") is not None:
            line, style = _gain("without memory", base.get("free"), final["free"]), "bold"
            gain = summary.get("gain") or {}
            if gain.get("low") is not None:
                line += f" [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
                style = "bold green" if gain["low"] > 0 else "bold red" if gain["high"] < 0 else "bold yellow"
            self._write(self._out, line, style)
            for kind, means in kinds.items():
                self.info(_gain(f"  {kind}", (base_kinds.get(kind) or {}).get("avg"), means.get("avg")))
            if line := _unchecked(base.get("detail") or {}, final.get("detail") or {}):
                self._write(self._out, line, "yellow")
        if final.get("with_memory") is not None:
            self.info(f"{'with memory':<16} {percent(final['with_memory'])}")
        if summary.get("internalisation") is not None:
            self.info(f"{'internalised':<16} {percent(summary['internalisation'])}")
        if summary.get("programs_by", "policy") != "policy":
            self.info(f"{'memory by':<16} {summary['programs_by']}, not by the policy itself")
        for name, command in (
            ("adapter", "pmd export RUN --to DIR"),
            ("memory", "pmd memory report RUN --to memory.html"),
        ):
            if (run_path / name).is_dir():
                self.info(f"{name:<16} {run_path / name}   ({command.replace('RUN', str(run_path))})")
        self.info(f"{'run':<16} {run_path}")

    # ---- behind them

    def _write(self, terminal: Terminal, text: str, style: str = "") -> None:
        text = _safe(text)
        self._append(text)  # first: the log has also the line that nobody is there to read
        try:
            if terminal.is_terminal:
                terminal.print(Text(text, style), soft_wrap=True)
            else:
                encoding = getattr(terminal.file, "encoding", None) or "utf-8"
                terminal.file.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
                terminal.file.flush()
        except OSError as error:
            which = "standard output" if terminal is self._out else "standard error"
            raise OutputError(
                f"{which} takes no more: {error.strerror or error}.",
                "Send it to a terminal, or to a file that has room.",
                closed=isinstance(error, BrokenPipeError),
            ) from None

    def _append(self, line: str) -> None:
        if self._log is None:
            self._before_log.append(line)
            return
        with writing(self._log):
            append(self._log, f"{line}\n".encode("utf-8", "backslashreplace"), last=False)


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


_STEP_FORMS: dict[str, Callable[[float], str]] = {
    "loss": lambda nats: f"loss {nats:.4f}" if nats == 0 or abs(nats) >= 0.001 else f"loss {nats:.1e}",
    "reward": lambda mean: f"reward {mean:.2f}",
    "correct": lambda share: f"right {100 * share:.0f}%",
    "unchecked": lambda count: f"unchecked {count:.0f}" if count else "",
    "context_fraction": lambda share: f"taught {share:.2f}",
    "insights_written": lambda count: f"insights +{count:.0f}",
    "behaviors": lambda count: f"behaviors {count:.0f}",
    "validation": lambda share: f"validation {percent(share)}",
    "validation_unchecked": lambda share: f"({percent(share)} of it unchecked)" if share else "",
}


def _step_parts(metrics: Mapping[str, Any]) -> list[str]:
    """What a step line says of the metrics that are there."""
    values = ((form, _number(metrics, key)) for key, form in _STEP_FORMS.items())
    return [text for form, value in values if value is not None and (text := form(value))]


def _number(metrics: Mapping[str, Any], key: str) -> float | None:
    value = metrics.get(key)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _gain(name: str, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return f"{name:<16} {percent(after)}"
    return f"{name:<16} {percent(before)} -> {percent(after)}   {100 * (after - before):+.1f} points"


def _unchecked(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Which answers the line above leaves out, and what it would be with them as wrong; empty where none is left out."""
    shares = [of.get("unchecked_share") for of in (before, after)]
    if not any(shares):
        return ""
    names = ", ".join(f"{percent(share)} {when}" for when, share in zip(("before", "after"), shares, strict=True))
    least = f"{percent(before.get('avg_as_wrong'))} -> {percent(after.get('avg_as_wrong'))}"
    return f"{'not checked':<16} {names} of the answers, left out above; counted as wrong: {least}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else " ".join(str(value).split())


def _safe(text: str) -> str:
    """Control characters, those that turn the direction of writing, and lone surrogates made visible."""
    visible = _CONTROL.sub(
        lambda found: f"\\u{ord(found[0]):04x}" if ord(found[0]) > 0xFF else f"\\x{ord(found[0]):02x}", text
    )
    return visible.encode("utf-8", "backslashreplace").decode("utf-8")
