"""What a terminal, a pipe and the log are shown."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.console import Console, duration
from pmd_agent.errors import RunError

METRICS: dict[str, Any] = {
    "loss": 0.03124,
    "reward": 0.41,
    "correct": 0.412,
    "context_fraction": 0.92,
    "insights_written": 9,
    "behaviors": 14,
    "seconds": 2.7,
}
RESULT: dict[str, Any] = {
    "avg": 0.22, "pass": 0.5, "maj": 0.25, "k": 4, "problems": 200, "unchecked": 0,
    "by_kind": {"one": {"avg": 0.3}, "two": {"avg": 0.14}},
}  # fmt: skip


class Screen(io.StringIO):
    """A terminal of 80 columns, as far as rich looks."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


@pytest.fixture
def console(streams: tuple[io.StringIO, io.StringIO]) -> Console:
    return Console(*streams)


def shown(streams: tuple[io.StringIO, io.StringIO]) -> list[str]:
    return streams[0].getvalue().splitlines()


# ---- steps


def test_one_line_a_step(console: Console, streams: tuple[io.StringIO, io.StringIO]) -> None:
    console.step(11, 32, METRICS, 27.0)
    assert shown(streams) == [
        "step  12/32 · loss 0.0312 · reward 0.41 · right 41% · taught 0.92 · insights +9 · behaviors 14"
        " · 2.7 s · eta 9 min 00 s"
    ]


def test_missing_metrics_are_left_out(console: Console, streams: tuple[io.StringIO, io.StringIO]) -> None:
    console.step(0, 3, {"loss": None, "reward": float("nan"), "correct": 0.0, "unchecked": 0, "validation": 0.435})
    console.step(2, 3, {"loss": 2e-5, "unchecked": 3, "seconds": 61})
    assert shown(streams) == [
        "step  1/3 · right 0% · validation 43.5%",
        "step  3/3 · loss 2.0e-05 · unchecked 3 · 1 min 01 s",
    ]


def test_the_time_left_counts_from_where_the_run_went_on(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    console.step(20, 32, {"seconds": 2.0})
    console.step(21, 32, {"seconds": 4.0})
    assert [line.split("eta ")[1] for line in shown(streams)] == ["22 s", "30 s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# ---- results


def test_evaluation(console: Console, streams: tuple[io.StringIO, io.StringIO]) -> None:
    console.evaluation("final_with_memory", RESULT | {"unchecked": 2, "with_memory": True})
    console.evaluation("base", {"avg": None, "pass": None, "maj": None, "k": 0, "problems": 0, "unchecked": 0})
    assert shown(streams) == [
        "final with memory: avg@4 22.0% · pass@4 50.0% · maj@4 25.0% · one 30.0% · two 14.0%"
        " · 200 problems · 2 answers unchecked",
        "base: avg@0 - · pass@0 - · maj@0 - · 0 problems",
    ]


def test_summary(console: Console, streams: tuple[io.StringIO, io.StringIO], tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "memory").mkdir()
    final = RESULT | {"by_kind": {"one": {"avg": 0.8}, "two": {"avg": 0.1}}}
    summary = {"base": {"free": 0.22, "detail": RESULT}, "final": {"free": 0.583, "with_memory": 0.64, "detail": final}}
    console.summary(summary, tmp_path)
    lines = [" ".join(line.split()) for line in shown(streams)]
    assert lines == [
        "without memory 22.0% -> 58.3% +36.3 points",
        "one 30.0% -> 80.0% +50.0 points",
        "two 14.0% -> 10.0% -4.0 points",
        "with memory 64.0%",
        f"adapter {tmp_path}/adapter (pmd export {tmp_path} --to DIR)",
        f"memory {tmp_path}/memory (pmd memory report {tmp_path} --to memory.html)",
        f"run {tmp_path}",
    ]


@pytest.mark.parametrize("summary", [{}, {"base": None, "final": {"free": None}}, {"final": {"free": 0.5}}])
def test_a_summary_of_little(
    summary: dict[str, Any], console: Console, streams: tuple[io.StringIO, io.StringIO], tmp_path: Path
) -> None:
    console.summary(summary, tmp_path)
    assert str(tmp_path) in shown(streams)[-1]


# ---- lines and tables


def test_errors_and_warnings_go_to_standard_error(console: Console, streams: tuple[io.StringIO, io.StringIO]) -> None:
    console.error(RunError("runs/x is there.", "Use --resume."))
    console.warn("slow")
    assert streams[0].getvalue() == ""
    assert streams[1].getvalue() == "error: runs/x is there.\n  Use --resume.\nwarning: slow\n"


def test_a_table_is_aligned(console: Console, streams: tuple[io.StringIO, io.StringIO]) -> None:
    console.table(["id", "step", "text"], [["a", 3, "x\n y"], ["bb", 12, None]])
    console.table(["only"], [])
    assert shown(streams) == ["id  step  text", "a      3  x y", "bb    12  -", "only"]


def test_long_lines_are_whole_in_a_pipe_and_cut_in_a_terminal_s_table() -> None:
    out, screen = io.StringIO(), Screen()
    for stream in (out, screen):
        Console(stream, stream).info("x" * 300)
        Console(stream, stream).table(["text"], [["y" * 300]])
    assert "x" * 300 in out.getvalue() and "y" * 300 in out.getvalue()
    assert "x" * 300 in screen.getvalue() and "y" * 300 not in screen.getvalue() and "…" in screen.getvalue()


def test_what_a_policy_wrote_cannot_steer_the_terminal() -> None:
    for stream in (io.StringIO(), Screen()):
        Console(stream, stream).info("a\x1b]0;title\x07b\rc [bold]d[/bold] :smile: \ud800")
        assert "a\\x1b]0;title\\x07b\\x0dc [bold]d[/bold] :smile: \\ud800" in stream.getvalue()


def test_characters_that_a_stream_cannot_hold_are_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Console(stream, stream).info("a · b")
    assert raw.getvalue() == b"a \\xb7 b\n"


# ---- stages and the log


def test_a_stage_is_a_line_in_a_pipe(console: Console, streams: tuple[io.StringIO, io.StringIO]) -> None:
    with console.stage("evaluating"):
        pass
    assert shown(streams) == ["evaluating ..."]


def test_a_stage_spins_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    console = Console(screen, screen)
    console.attach(tmp_path / "log.txt")
    with console.stage("evaluating"), console.stage("more"):
        console.info("within")
    assert "evaluating" in screen.getvalue() and "\x1b[" in screen.getvalue()
    with pytest.raises(KeyError), console.stage("failing"):
        raise KeyError
    assert (tmp_path / "log.txt").read_text() == "evaluating ...\nmore ...\nwithin\nfailing ...\n"


def test_the_log_has_every_line_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    (tmp_path / "log.txt").write_text("earlier\n")
    console = Console(Screen(), Screen())
    console.info("before the log")
    console.attach(tmp_path / "log.txt")
    console.step(0, 2, METRICS)
    console.warn("slow")
    console.error(RunError("broken"))
    log = (tmp_path / "log.txt").read_text()
    assert re.fullmatch(r"earlier\nbefore the log\nstep  1/2 · .*\nwarning: slow\nerror: broken\n", log)


def test_what_turns_the_direction_of_writing_is_seen() -> None:
    out = io.StringIO()
    Console(out, io.StringIO()).info("a\u202eb\u2066c\x1b[31m")
    assert out.getvalue() == "a\\u202eb\\u2066c\\x1b[31m\n"
