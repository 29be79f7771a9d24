"""What the page of a run says, and that it says it safely."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pmd_agent.errors import RunError
from pmd_agent.reports.run_page.overview import overview
from pmd_agent.reports.run_page.page import report
from pmd_agent.reports.run_page.rollouts import characters_each, every_which, rollouts_of
from pmd_agent.reports.run_page.source import Source, newest
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.lock import lock_folder, unlock_folder, writer_of

from .conftest import HOSTILE, commit, data_in, elements_in, metrics, rollout

SourceOf = Callable[[RunDir], Source]


def test_a_run_at_a_glance(watched: RunDir) -> None:
    found = overview(watched)
    assert (found["state"], found["steps"], found["committed"], found["step"]) == ("finished", 3, 3, [0, 1, 2])
    assert found["metrics"]["validation_low"] == [0.2] * 3 and found["stages"] == {
        "attempt": [0.5] * 3,
        "distil": [1.5] * 3,
    }
    base, final = found["measured"]
    assert (base["mean"], final["mean"], final["problems"]) == (0.0, pytest.approx(2 / 3), 3) and final[
        "low"
    ] < 2 / 3 < final["high"]
    assert found["alarms"] == [{"step": 1, "text": "answers have grown to 20 tokens, from 10 at the start"}]
    assert any("+50.0 [-10.0, +90.0] points" in fact for fact in found["facts"])
    words = " ".join(found["words"])
    for said in (
        "Step 3 of 3: 4 attempts, 25.0% of them right",
        "by +0.100 nats a token more",
        "distil 75.0%",
        "2 insights were written",
    ):
        assert said in words, said


def test_a_step_that_reports_little_has_words_too(tmp_path: Path, watched: RunDir) -> None:
    from pmd_agent.reports.run_page.overview import last_step

    assert last_step([{"step": 0, "rollouts": 2, "stage_seconds": {}}], None) == ["Step 1: 2 attempts."]


def test_rollouts_are_columns_that_name_what_repeats(watched: RunDir) -> None:
    found = rollouts_of(watched.path, 2, characters=1_000)
    assert [found["names"][i] for i in found["problem"]] == ["p0", "p1", "p0", "p1"]
    assert [[found["names"][i] for i in read] for read in found["read"]] == [["0/p0/0", "2/p0/1"]] * 3 + [[]]
    assert found["right"] == [1, 1, 0, None] and found["gain"] == [0.25] * 3 + [None]
    assert list(found["tokens"]) == [0] and [gain for _, gain in found["tokens"][0]] == [50, -100, None]
    assert rollouts_of(watched.path, 2, characters=1_000, tokens=False)["tokens"] == {}
    (file := watched.path / "rollouts" / "step-000002.jsonl").write_bytes(file.read_bytes()[:-20])
    with pytest.raises(RunError, match="line 4"):
        rollouts_of(watched.path, 2, characters=1_000)
    assert rollouts_of(watched.path, 99, characters=1_000)["id"] == [], "a step that was taken back meanwhile"


def test_of_many_rollouts_texts_are_short_and_few_are_shown_by_token() -> None:
    assert (
        characters_each(1_000) == 4_000
        and characters_each(50_000) * 50_000 <= 24_000_000
        and characters_each(10**9) == 240
    )
    assert every_which(100, 8 * 50) == 1 and every_which(2_000, 8 * 2_000) == 32


def test_memories_came_went_and_changed(watched: RunDir, source_of: SourceOf) -> None:
    found = source_of(watched).memories()
    entries = {entry["id"]: entry for entry in found["entries"]}
    assert {name: entry["went"] for name, entry in entries.items()} == {
        "2/b": None,
        "1/b": 2,
        "2/p0/s": None,
        "0/p0/s": 2,
    }
    assert (
        entries["2/b"]["read"] == 7
        and entries["0/p0/s"]["sources"] == ["0/p0/0"]
        and entries["2/p0/s"]["state"] == "quarantined"
    )
    events = {(step, what, name): why for step, what, name, why in found["events"]}
    assert events[2, "went", "1/b"] == "a generalisation did not find it again"
    assert events[2, "went", "0/p0/s"] == "newer strategies of its problem took its place"
    assert events[2, "quarantined", "2/p0/s"] == "harmful" and (1, "came", "1/b") in events
    assert found["sizes"]["behavior"] == [0, 1, 1]


def test_a_memory_that_left_for_room_says_so(watched: RunDir) -> None:
    from pmd_agent.memory import HashingEmbedder, Memory
    from pmd_agent.memory.eviction import Limits
    from pmd_agent.reports.run_page.memories import memories_of

    with Memory.open(watched.memory_path, HashingEmbedder()) as memory:
        assert memory.tidy(4, 4, Limits(budgets={"behavior": 0})) == {"behavior": 1}
        events = memories_of(memory, 5, {4: {"evicted_behavior": 1}})["events"]
    assert (4, "went", "2/b", "it was too old, or beyond the budget of its tier") in events


def test_what_a_policy_wrote_stays_text(watched: RunDir, source_of: SourceOf) -> None:
    page = report(source_of(watched))
    data = data_in(page)
    assert set(data) == {"overview", "answers", "problems", "memories", "rollouts-0", "rollouts-1", "rollouts-2"}
    shown = HOSTILE.replace("\x00", " ").replace("\ud800", "?")
    assert data["rollouts-0"]["text"][0] == shown == data["answers"][0]["base"][2][0][0]
    assert "<img" not in page and "document.title='taken'</script>" not in page
    assert page.count("<script") == page.count("</script>") == len(data) + 2
    csp = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert (
        csp
        and "default-src &#39;none&#39;" in csp[1]
        and "unsafe" not in csp[1].split("style-src")[0]
        and "connect-src &#39;none&#39;" in csp[1]
    )
    elements = elements_in(page)
    assert not any(given.get("src") or not (given.get("href") or "#").startswith("#") for _, given in elements), (
        "nothing is loaded"
    )
    assert not any(name.startswith("on") for _, given in elements for name in given)


def test_a_killed_and_resumed_run_reads_right(tmp_path: Path, source_of: SourceOf) -> None:
    from pmd_agent.recipe import parse_recipe

    given = {
        "name": "two",
        "runs": str(tmp_path / "runs"),
        "policy": {"type": "scripted"},
        "steps": 8,
        "checkpoint_every": 2,
    }
    run = RunDir.create(parse_recipe(given))
    source = source_of(run)
    assert source.overview()["step"] == [] and source.overview()["words"] == []
    assert source.memories()["none"] == "No step is committed yet."
    for step in range(3):
        run.commit(step, metrics(step), [rollout(step, 0, right=True)], lambda folder: None)
    first = source.overview()
    assert (first["step"], first["committed"], first["state"]) == ([0, 1, 2], 2, "running")
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "half')  # killed while it wrote
    assert source.overview()["step"] == [0, 1, 2]
    unlock_folder(run.path)
    run = RunDir.resume(run.recipe)
    assert source.overview()["step"] == [0, 1] and source.overview()["version"] != first["version"]
    assert source.rollouts(2)["id"] == []
    run.commit(2, metrics(2), [rollout(2, 0, right=False)], lambda folder: None)
    again = source.overview()
    assert (
        again["step"] == [0, 1, 2]
        and again["stamp"][:2] == first["stamp"][:2]
        and again["stamp"][2] != first["stamp"][2]
    )
    assert source.rollouts(2)["right"] == [0]


def test_who_writes_is_told_without_the_lock(tmp_path: Path) -> None:
    import os

    assert writer_of(tmp_path) is None
    lock_folder(tmp_path)
    assert writer_of(tmp_path) == os.getpid()
    unlock_folder(tmp_path)
    (tmp_path / "lock").write_text("999999999\n")
    assert writer_of(tmp_path) is None


def test_a_memory_is_copied_seldom_while_the_run_goes_on(watched: RunDir, source_of: SourceOf) -> None:
    source = source_of(watched)
    first = source.memories()
    state = json.loads((watched.path / "state.json").read_text())
    (watched.path / "summary.json").unlink()
    (watched.path / "state.json").write_text(json.dumps(state | {"next_step": 4}))
    assert source.memories() is first, "a later commit, but a copy was made just now"
    (watched.path / "state.json").write_text(json.dumps(state | {"next_step": 2}))
    assert source.memories()["step"] == 2, "a commit that was taken back counts at once"


def test_a_run_without_a_memory_says_so(watched: RunDir) -> None:
    import shutil

    from pmd_agent.assembly.run_page import source_of as assembled

    shutil.rmtree(watched.memory_path)
    found = assembled(watched, lambda text: None).memories()
    assert found["entries"] == [] and "has no memory" in found["none"]


def test_the_newest_run_is_the_one_that_was_written_last(tmp_path: Path, watched: RunDir) -> None:
    import os

    assert newest(tmp_path / "none") is None
    other = watched.path.parent / "other"
    other.mkdir()
    (other / "recipe.yaml").write_text("{}")
    os.utime(other / "recipe.yaml", (1, 1))
    assert newest(watched.path.parent) == watched.path
    commit(watched, 2)
    assert newest(watched.path.parent) == watched.path
