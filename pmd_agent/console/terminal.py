"""Everything a terminal shows, and with lines of its own for runs.

One plain line an event; colours and lines that move only on a terminal. Once a run's log is attached, every line goes there
too. Shares are shown in percent, durations in seconds, minutes or hours.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console as Terminal
from rich.text import Text

from pmd_agent.console.bar import Bar, PlainCount
from pmd_agent.console.columns import COLUMN, beside
from pmd_agent.console.words import (
    STAGES,
    as_cell,
    duration,
    figure,
    fitted,
    gained,
    not_checked,
    percent,
    safe,
    step_parts,
)
from pmd_agent.errors import OutputError, PMDError
from pmd_agent.progress import watched
from pmd_agent.runs.disk import writing
from pmd_agent.runs.files import append, to_json


class Console:
    """Writes to standard output, and errors and warnings to standard error, unless other streams are given."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = Terminal(file=out or sys.stdout, highlight=False, markup=False, emoji=False)
        self._err = Terminal(file=err or sys.stderr, highlight=False, markup=False, emoji=False)
        self._log: Path | None = None
        self._before_log: list[str] = []
        self._bar: Bar | None = None

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

    def data(self, value: Mapping[str, Any]) -> None:
        """For programs to read: a line of JSON."""
        self.info(to_json(value).decode().rstrip("\n"))

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
        cells = [[as_cell(value) for value in row] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
        to_right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))]
        for number, row in enumerate([list(columns), *cells]):
            padded = [
                " " * (width - cell_len(cell)) + cell if right else cell + " " * (width - cell_len(cell))
                for cell, width, right in zip(row, widths, to_right, strict=True)
            ]
            line = Text(safe("  ".join(padded).rstrip()))
            if self._out.is_terminal:
                line.truncate(self._out.width, overflow="ellipsis")
            self._write(self._out, line.plain, "" if number else "bold")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Something that takes long: a line that moves on a terminal, elsewhere a line, and one a minute where it is counted."""
        if self._bar is None and self._out.is_terminal:
            self._append(f"{name} ...")
        else:
            self.info(f"{name} ...")
        with self._moving(name):
            yield

    @contextmanager
    def during(self, stage: str, step: int, steps: int) -> Iterator[None]:
        """A stage of a step. Where it is not counted, it is seen on a terminal alone."""
        with self._moving(f"step {step + 1}/{steps} · {STAGES.get(stage, stage)}"):
            yield

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Something that only somebody who waits for it wants to know of: nothing is written where there is no terminal."""
        if self._out.is_terminal:
            with self._moving(name):
                yield
        else:
            yield

    @contextmanager
    def _moving(self, name: str) -> Iterator[None]:
        """What is counted within is shown. Within another one, that one shows it."""
        if self._bar is not None:
            yield
            return
        if not self._out.is_terminal:
            with watched(PlainCount(name, self.info).count):
                yield
            return
        self._bar = Bar(self._out, name)
        self._bar.start()
        try:
            with watched(self._bar.count):
                yield
        finally:
            self._bar.stop()
            self._bar = None

    # ---- a conversation

    @property
    def asks(self) -> bool:
        """Whether somebody sits at the terminal."""
        return sys.stdin is not None and sys.stdin.isatty()

    def ask(self, prompt: str) -> str | None:
        """The next line that is typed, or of what is piped in; None at its end."""
        if sys.stdin is None:
            return None
        if self.asks:
            with suppress(ImportError):
                import readline  # noqa: F401  # arrow keys and the lines before
            try:
                return input(prompt if self._out.is_terminal else "")
            except EOFError:
                self.info("")
                return None
        with suppress(AttributeError, io.UnsupportedOperation):  # not a file, or set before its first line
            sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None

    def side_by_side(self, texts: Mapping[str, str]) -> None:
        """Texts under their names: in columns on a terminal that is wide enough, else below each other."""
        if self._out.is_terminal and self._out.width // len(texts) >= COLUMN:
            for line in beside(texts, self._out.width):
                self._write(self._out, line)
            return
        for name, text in texts.items():
            self._write(self._out, f"{name}:", "bold")
            self.info(text)

    # ---- a run

    def step(self, step: int, steps: int, metrics: Mapping[str, Any], left: float | None = None) -> None:
        """One line for step `step`, which is said as one more: the first is 0 in files, and 1 wherever it is read.

        Metrics that are missing, None or NaN are left out. `left`: seconds to the end of the run.
        """
        parts = [f"step {step + 1:>{len(str(steps)) + 1}}/{steps}", *step_parts(metrics)]
        seconds = figure(metrics, "seconds")
        if seconds is not None:
            parts.append(duration(seconds))
        if left:
            parts.append(f"eta {duration(left)}")
        self._write_parts(parts)

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
        self._write_parts([f"{title.replace('_', ' ')}: {parts[0]}", *parts[1:]], "bold")

    def summary(self, summary: Mapping[str, Any], run_path: Path) -> None:
        """The last lines: what was gained, where things are, what to type next."""
        base, final = summary.get("base") or {}, summary.get("final") or {}
        kinds = (final.get("detail") or {}).get("by_kind") or {}
        base_kinds = (base.get("detail") or {}).get("by_kind") or {}
        if final.get("free") is not None:
            line, style = gained("without memory", base.get("free"), final["free"]), "bold"
            gain = summary.get("gain") or {}
            if gain.get("low") is not None:
                line += f" [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
                style = "bold green" if gain["low"] > 0 else "bold red" if gain["high"] < 0 else "bold yellow"
            self._write(self._out, line, style)
            for kind, means in kinds.items():
                self.info(gained(f"  {kind}", (base_kinds.get(kind) or {}).get("avg"), means.get("avg")))
            if line := not_checked(base.get("detail") or {}, final.get("detail") or {}):
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

    def _write_parts(self, parts: Sequence[str], style: str = "") -> None:
        """One line, in the log as well; on a terminal that is too narrow for it, several that begin at a part."""
        line = " · ".join(parts)
        self._write(self._out, line, style, fitted(parts, self._out.width) if self._out.is_terminal else line)

    def _write(self, terminal: Terminal, text: str, style: str = "", shown: str | None = None) -> None:
        """`shown`: the same as the terminal shows it, where that is not as the log has it."""
        self._append(safe(text))  # first: the log has also the line that nobody is there to read
        text = safe(text if shown is None else shown)
        try:
            if terminal.is_terminal:
                with self._aside(terminal):
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

    @contextmanager
    def _aside(self, terminal: Terminal) -> Iterator[None]:
        """Rich moves its own lines out of the way, and knows nothing of what goes to standard error."""
        bar = self._bar if terminal is self._err else None
        if bar is not None:
            bar.stop()
        try:
            yield
        finally:
            if bar is not None:
                bar.start()

    def _append(self, line: str) -> None:
        if self._log is None:
            self._before_log.append(line)
            return
        with writing(self._log):
            append(self._log, f"{line}\n".encode("utf-8", "backslashreplace"), last=False)
