"""pmd memory on a small real memory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.recipe import Recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.program_trace import Call, Message, ProgramTrace, pack
from pmd_agent.types import Behavior, Experience, Insight

Pmd = Callable[..., subprocess.CompletedProcess[str]]


def attempt(number: int, *, correct: bool) -> Experience:
    text = f"attempt {number}\n" + ("count the ring atoms " * (60 if number == 0 else 1))
    feedback = "" if correct else "The answer is wrong."
    return Experience(f"3/p1/{number}", "p1", text, float(correct), correct, feedback, "B", 3, 3)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of eleven steps that remembers two attempts, an insight and two behaviors, one of them retired."""
    path = RunDir.create(Recipe(name="one", runs=tmp_path / "runs")).path
    (path / "metrics.jsonl").touch()
    (path / "state.json").write_text(json.dumps({"next_step": 11, "metrics_bytes": 0}))
    insight = Insight("3/p1/s0", "p1", "strategy", "Count ring atoms first.", 0.5, ("3/p1/0", "3/p1/1", "2/p1/0"), 3, 3)
    old = Behavior("3/b0", "behavior_old", "An old rule about \x1b[2Jscreens.", "c0", 1, ("3/p1/s0",), 3, 3)
    new = Behavior(
        "9/b0", "behavior_count_rings", "Check ring structures before counting.", "c0", 4, ("3/p1/s0",), 9, 9
    )
    with Memory.open(path / "memory", HashingEmbedder()) as memory:
        memory.add_experiences([attempt(0, correct=True), attempt(1, correct=False)])
        memory.rewrite_insights("p1", [insight])
        memory.replace_behaviors([old], 3)
        memory.replace_behaviors([new], 9)
    return path


def test_list(run: Path, pmd: Pmd) -> None:
    lines = pmd("memory", "list", "one").stdout.splitlines()
    assert [line for line in lines if line.endswith(("1", "2")) and ":" in line] == [
        "behavior: 1", "insight: 1", "experience: 2"
    ]  # fmt: skip
    text = "\n".join(lines)
    assert "behavior_count_rings (4 problems)" in text and "p1 strategy" in text and "p1 wrong" in text
    assert "behavior_old" not in text
    assert max(map(len, lines)) < 260


def test_what_a_killed_step_left_is_not_shown(run: Path, pmd: Pmd) -> None:
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        memory.replace_behaviors([Behavior("11/b0", "behavior_half", "Half a step.", "c0", 1, (), 11, 11)], 11)
    text = pmd("memory", "list", "one").stdout
    assert "behavior_half" not in text and "behavior_count_rings" in text


def test_a_page_of_it_all(run: Path, pmd: Pmd, tmp_path: Path) -> None:
    done = pmd("memory", "report", "one", "--to", "deep/memory.html")
    assert (
        "open it in a browser" in done.stdout and "behavior_count_rings" in (tmp_path / "deep/memory.html").read_text()
    )
    (tmp_path / "file").touch()
    assert "cannot be written" in pmd("memory", "report", "one", "--to", "file/memory.html", code=2).stderr


def test_list_one_tier_and_a_limit(run: Path, pmd: Pmd) -> None:
    lines = pmd("memory", "list", str(run), "--tier", "experience", "--limit", "1").stdout.splitlines()
    assert lines[0] == "experience: 2, the newest 1" and len(lines) == 3


def test_show_goes_down_to_the_attempts(run: Path, pmd: Pmd) -> None:
    text = pmd("memory", "show", "one", "9/b0").stdout
    assert text.startswith("behavior id 9/b0 · step 10 · policy version 9 · name behavior_count_rings")
    assert "\n    insight id 3/p1/s0" in text and "confidence 0.5" in text
    assert "\n        experience id 3/p1/0" in text and "rollout in rollouts/step-000003.jsonl" in text
    assert 'feedback "The answer is wrong."' in text
    assert "1 more that are no longer stored" in text
    assert text.index("3/p1/0") < text.index("3/p1/1")
    assert "count the ring atoms " * 60 not in text
    assert "count the ring atoms " * 59 in pmd("memory", "show", "one", "3/p1/0").stdout


def test_show_what_was_retired_and_what_could_steer_the_terminal(run: Path, pmd: Pmd) -> None:
    text = pmd("memory", "show", "one", "3/b0").stdout
    assert "retired at step 10" in text and "\x1b" not in text and "\\x1b[2J" in text


def write_programs(run: Path, *asked: ProgramTrace) -> None:
    RunDir.open(run).write_lines("programs/step-000003.jsonl", pack(asked))


def test_show_the_prompt(run: Path, pmd: Pmd) -> None:
    assert "--prompt" not in pmd("memory", "show", "one", "3/p1/s0").stdout
    shown = pmd("memory", "show", "one", "3/p1/s0", "--prompt").stdout
    assert "Its prompt is not kept: programs/step-000003.jsonl has none." in shown
    messages = (Message("system", "Compare the attempts."), Message("user", "[1] correct\nattempt 0 \x1b[2J"))
    draft = Call("local/box@3", messages, ('{"strategies": ["Count."]}',))
    final = Call("local/box@3", (messages[0], Message("user", "Revise.")), error="LMError: gone")
    write_programs(run, ProgramTrace("p1", "pkg:After#1", (draft, final), ("3/p1/s0",), left_out=2))
    assert "prompt in programs/step-000003.jsonl" in pmd("memory", "show", "one", "3/p1/s0").stdout
    shown = pmd("memory", "show", "one", "3/p1/s0", "--prompt").stdout
    assert shown.split("2 earlier calls are not kept.\n")[1].splitlines() == [
        "call 1 of 2 · local/box@3", "--- system", "Compare the attempts.", "--- user", "[1] correct", "attempt 0 \\x1b[2J",
        "--- answer", '{"strategies": ["Count."]}',
        "call 2 of 2 · local/box@3", "--- system", "Compare the attempts.", "--- user", "Revise.", "--- error", "LMError: gone",
    ]  # fmt: skip
    write_programs(run, ProgramTrace("p1", "pkg:Inventor#1", (), ("3/p1/s0",)))
    shown = pmd("memory", "show", "one", "3/p1/s0", "--prompt").stdout
    assert shown.endswith("pkg:Inventor#1 wrote it, and asked no language model.\n")


def test_show_what_was_merged_into_another(run: Path, pmd: Pmd) -> None:
    again = Insight("9/p1/s0", "p1", "strategy", "count ring atoms FIRST.", 0.5, ("9/p1/0",), 9, 9)
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        memory.rewrite_insights("p1", [again])
    call = Call("local/box@9", (Message("user", "attempts of step 9"),), ("hm",))
    RunDir.open(run).write_lines("programs/step-000009.jsonl", pack([ProgramTrace("p1", "q", (call,), ("9/p1/s0",))]))
    shown = pmd("memory", "show", "one", "3/p1/s0", "--prompt").stdout
    assert "said again as 9/p1/s0: `pmd memory show " in shown and "attempts of step 9" not in shown
    shown = pmd("memory", "show", "one", "9/p1/s0", "--prompt").stdout
    assert shown.startswith("9/p1/s0 said the same as 3/p1/s0, and was merged into it\ninsight id 3/p1/s0")
    assert "--- user\nattempts of step 9\n--- answer\nhm" in shown


def test_the_prompt_of_what_a_bank_brought_is_in_the_other_run(run: Path, pmd: Pmd, tmp_path: Path) -> None:
    RunDir.create(Recipe(name="fresh", runs=tmp_path / "runs"))
    pmd("memory", "export", "one", "--to", "a.jsonl")
    pmd("memory", "import", "fresh", "a.jsonl")
    shown = pmd("memory", "show", "fresh", "3/p1/s0", "--prompt").stdout
    assert "prompt in the run that the bank a.jsonl came from" in shown
    assert shown.endswith("Its prompt is in the run that the bank a.jsonl came from.\n")


def test_show_what_is_not_there(run: Path, pmd: Pmd) -> None:
    done = pmd("memory", "show", "one", "9/b1", code=2)
    assert "remembers nothing of the id 9/b1" in done.stderr and "Did you mean 9/b0" in done.stderr


def test_search(run: Path, pmd: Pmd) -> None:
    lines = pmd("memory", "search", "one", "ring structures before counting").stdout.splitlines()
    assert lines[0].split()[:3] == ["similarity", "tier", "id"]
    assert "9/b0" in lines[1] and len(lines) >= 3
    lines = pmd("memory", "search", "one", "ring atoms", "--tier", "insight", "-k", "1").stdout.splitlines()
    assert len(lines) == 2 and "3/p1/s0" in lines[1]
    assert pmd("memory", "search", "one", "zzz qqq", "--tier", "behavior").stdout == "nothing is like it\n"


def test_recall_says_what_the_teacher_would_read_and_why(run: Path, pmd: Pmd) -> None:
    recipe = (run / "recipe.yaml").read_text().replace("type: sciknoweval", "type: world").split("problems:")[0]
    (run / "recipe.yaml").write_text(
        recipe + "problems: {type: world}\npolicy: {type: scripted}\nmemory: {behaviors: 1}\n"
    )
    text = pmd("memory", "recall", "one", "check the ring structures of this molecule before counting atoms").stdout
    assert text.startswith("Notes from practice.") and "- Check ring structures before counting." in text
    row = next(line for line in text.splitlines() if "9/b0" in line)
    assert row.split()[:3] == ["read", "behavior", "9/b0"] and "like the problem (0." in row
    assert text.splitlines()[-1].endswith("of 4096 tokens")
    assert "memory holds nothing for it" in pmd("memory", "recall", "one", "zzz qqq").stdout


def test_recall_says_how_many_teachers_read_what_is_on_trial(run: Path, pmd: Pmd) -> None:
    recipe = (run / "recipe.yaml").read_text().split("problems:")[0]
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        memory.note(9, states={"9/b0": ["trial", "of a bank"]})

    def lines(lift: str) -> list[str]:
        (run / "recipe.yaml").write_text(
            recipe + "problems: {type: world}\npolicy: {type: local, model: box}\nmemory: {lift: {" + lift + "}}\n"
        )
        return pmd("memory", "recall", "one", "check the ring structures of this molecule").stdout.splitlines()

    told = lines("trial: 4, untried: 0.25")
    row = next(line for line in told if "9/b0" in line)
    assert row.split()[:4] == ["25", "%", "behavior", "9/b0"] and "trial: of a bank" in row
    assert told[-2].startswith("a percentage: the share of teachers")
    told = lines("trial: 4, untried: 0")
    assert next(line for line in told if "9/b0" in line).startswith("-") and "percentage" not in "".join(told)


def test_taught_leads_back_from_a_rollout(run: Path, pmd: Pmd) -> None:
    row = {"id": "3/p1/0", "correct": True, "policy_version": 3, "taught_by": ["9/b0", "3/p1/s0", "1/gone"]}
    (run / "rollouts").mkdir(exist_ok=True)
    (run / "rollouts" / "step-000003.jsonl").write_text(json.dumps(row) + "\n")
    text = pmd("memory", "taught", "one", "3/p1/0").stdout
    assert text.startswith("rollout 3/p1/0 · right · policy version 3 · 3 memories")
    assert "Check ring structures" in text and "Count ring atoms first." in text and "no longer stored" in text
    done = pmd("memory", "taught", "one", "3/p1/1", code=2)
    assert "has no rollout 3/p1/1" in done.stderr and "Did you mean 3/p1/0" in done.stderr


def test_lift(run: Path, pmd: Pmd) -> None:
    assert "nothing was tried" in pmd("memory", "lift", "one").stdout
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        memory.note(10, tried={"9/b0": [4, -2.0, 1.3]}, states={"9/b0": ["trial", "of a bank"]})
    last = pmd("memory", "lift", "one").stdout.splitlines()[-1]
    assert last.split()[:5] == ["9/b0", "trial", "0.50", "0.16", "4"] and "Check ring" in last
    text = pmd("memory", "show", "one", "9/b0").stdout
    assert "alone correct rollouts 0.50 ± 0.16 times as likely" in text and "trial of a bank (step 11)" in text


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_export_import_export(run: Path, pmd: Pmd, tmp_path: Path, form: str) -> None:
    fresh = RunDir.create(Recipe(name="fresh", runs=tmp_path / "runs")).path
    assert pmd("memory", "export", "one", "--to", f"a.{form}").stdout == f"4 entries in a.{form}\n"
    assert pmd("memory", "import", "fresh", f"a.{form}").stdout == f"4 entries from a.{form}\n"
    pmd("memory", "export", str(fresh), "--to", f"b.{form}")
    assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()
    assert "is there already" in pmd("memory", "export", "one", "--to", f"a.{form}", code=2).stderr
    assert "empty memory" in pmd("memory", "import", "fresh", f"a.{form}", code=2).stderr
    assert "There is no bank" in pmd("memory", "import", "fresh", "c.jsonl", code=2).stderr


def test_it_is_read_while_another_process_writes(run: Path, pmd: Pmd) -> None:
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        half = Behavior("11/b0", "behavior_half", "Half a step.", "c0", 1, (), 11, 11)
        memory.replace_behaviors([half], 11)
        text = pmd("memory", "list", "one").stdout
        assert memory.behaviors() == [half], "the owner's own state"
    assert "behavior_half" not in text and "behavior_count_rings" in text


def test_two_writers_are_kept_apart(run: Path, pmd: Pmd, tmp_path: Path) -> None:
    fresh = RunDir.create(Recipe(name="fresh", runs=tmp_path / "runs")).path
    pmd("memory", "export", "one", "--to", "a.jsonl")
    with Memory.open(fresh / "memory", HashingEmbedder()):
        done = pmd("memory", "import", "fresh", "a.jsonl", code=2)
    assert "in use by process" in done.stderr


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_reading_changes_nothing(run: Path, pmd: Pmd) -> None:
    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        memory.replace_behaviors([Behavior("11/b0", "behavior_half", "Half a step.", "c0", 1, (), 11, 11)], 11)
    before = contents(run)
    for arguments in (["list", "one"], ["search", "one", "rings"], ["show", "one", "9/b0"], ["lift", "one"]):
        pmd("memory", *arguments)
    pmd("memory", "export", "one", "--to", "a.jsonl")
    pmd("memory", "report", "one", "--to", "a.html")
    assert contents(run) == before


def test_a_run_that_cannot_be_written_is_read(run: Path, pmd: Pmd) -> None:
    paths = [run, *run.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert "behavior_count_rings" in pmd("memory", "list", "one").stdout
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
