"""What a terminal, a pipe and the log are shown."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.console import Console, duration
from pmd_agent.console.bar import PlainCount
from pmd_agent.errors import RunError
from pmd_agent.progress import counting

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
    console.step(11, 32, METRICS, 540.0)
    assert shown(streams) == [
        "step  12/32 · loss 0.0312 · reward 0.41 · right 41% · taught 92% · insights +9 · behaviors 14"
        " · 2.7 s · eta 9 min 00 s"
    ]


@pytest.mark.parametrize("width", [30, 40, 80])
def test_on_a_narrow_terminal_a_step_s_line_is_broken_between_its_parts(
    width: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Screen()
    console = Console(screen, screen)
    console.attach(tmp_path / "log.txt")
    console.step(11, 32, METRICS, 540.0)
    lines = screen.getvalue().splitlines()
    log = (tmp_path / "log.txt").read_text()
    assert len(lines) > 1 and max(map(len, lines)) <= width
    assert " · ".join(line.strip() for line in lines) == log.strip() and "eta 9 min 00 s" in lines[-1]


def test_missing_metrics_are_left_out(console: Console, streams: tuple[io.StringIO, io.StringIO]) -> None:
    console.step(0, 3, {"loss": None, "reward": float("nan"), "correct": 0.0, "unchecked": 0, "validation": 0.435})
    console.step(2, 3, {"loss": 2e-5, "unchecked": 3, "seconds": 61})
    assert shown(streams) == [
        "step  1/3 · right 0% · validation 43.5%",
        "step  3/3 · loss 2.0e-05 · unchecked 3 · 1 min 01 s",
    ]


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


def test_a_stage_moves_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    console = Console(screen, screen)
    console.attach(tmp_path / "log.txt")
    with console.stage("evaluating"), console.stage("more"):
        console.info("within")
        console.warn("beside it")
    assert "evaluating" in screen.getvalue() and "\x1b[" in screen.getvalue()
    with pytest.raises(KeyError), console.stage("failing"):
        raise KeyError
    log = "evaluating ...\nmore ...\nwithin\nwarning: beside it\nfailing ...\n"
    assert (tmp_path / "log.txt").read_text() == log


@pytest.mark.parametrize("width", [40, 80])
def test_what_is_counted_is_seen_on_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Screen()
    console = Console(screen, screen)
    with console.during("attempt", 11, 64):
        counting(200)(50)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    line = next(line for line in re.split(r"[\r\n]+", plain) if "50/200" in line)
    assert "step 12/64 · attempting" in line and len(line.rstrip()) <= width
    assert ("━" in line) == (width == 80)
    counting(10)(10)  # nobody watches any more
    assert "10/10" not in screen.getvalue()


def test_without_a_terminal_a_stage_of_a_step_says_nothing_in_its_first_minute(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    with console.during("attempt", 0, 2), console.working("loading"):
        counting(3)(1)
    assert shown(streams) == []


def test_a_line_a_minute_without_a_terminal() -> None:
    now, said = [0.0], []
    plain = PlainCount("evaluating", said.append, clock=lambda: now[0])
    for done in range(0, 101, 5):
        now[0] = 3.0 * done
        plain.count(done, 100)
    assert said == [
        "evaluating: 20/100 · 4 min 00 s left", "evaluating: 40/100 · 3 min 00 s left",
        "evaluating: 60/100 · 2 min 00 s left", "evaluating: 80/100 · 1 min 00 s left",
    ]  # fmt: skip


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
