"""The page of what a run remembers."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.recipe import parse_recipe
from pmd_agent.reports import memory_page as module
from pmd_agent.reports.memory_page import memory_page
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Behavior, Experience, Insight

HOSTILE = "<script>alert(1)</script> a\x00b \ud800 <|im_end|>"


class Tags(HTMLParser):
    """What is on a page: its elements, whether each is closed, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.stack: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.opened.append(tag)
        if tag not in ("meta", "path", "use", "rect"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attributes: object) -> None:
        self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.stack:
            while self.stack.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir.create(parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), "policy": {"type": "scripted"}}))
    for step in range(3):
        made.commit(step, {"step": step, "rollouts": 2}, [], lambda folder: None, programs=[], last=step == 2)
    made.write_json("summary.json", {"base": {"free": 0.25}, "final": {"free": 0.5, "with_memory": 0.75}})
    return made


@pytest.fixture
def memory(run: RunDir) -> Iterator[Memory]:
    attempts = [
        Experience(f"0/p/{i}", "p", f"try {i}: {HOSTILE}", float(i), bool(i), "" if i else HOSTILE, None, 0, 0)
        for i in (0, 1)
    ]
    insights = [
        Insight(f"0/p/{i}", "p", "strategy", text, 0.5, ("0/p/0", "0/p/1", "0/p/2"), 0, 0)
        for i, text in enumerate(["Count the rings.", "Use zog max."])
    ]
    old = Behavior("1/b", "behavior_old", "Never look.", "c", 1, (), 1, 1)
    new = Behavior("2/b", "behavior_zog", f"Use zog max. {HOSTILE}", "c", 2, ("0/p/0", "0/p/1"), 2, 2)
    with Memory.open(run.memory_path, HashingEmbedder()) as opened:
        opened.add_experiences(attempts)
        opened.rewrite_insights("p", insights)
        opened.replace_behaviors([old], 1)
        opened.replace_behaviors([new], 2)
        opened.note(2, states={"2/b": ["quarantined", "harmful: lift -0.5"]}, uses={"2/b": 7}, passed={"p": 0.5})
        yield opened


def test_it_leads_from_a_rule_to_the_attempts(run: RunDir, memory: Memory) -> None:
    page = memory_page(run, memory, {"p": f"37 zog 14 {HOSTILE}"})
    found = Tags(page)
    assert not found.stack and "svg" in found.opened and "src=" not in page and 'href="http' not in page
    assert "script" not in found.opened and "\x00" not in page and page.encode("utf-8")
    for said in (
        "What one remembers", "1 behaviors, 2 insights, 2 experiences; 1 more in the archive", "1 quarantined", "25.0% -> 50.0%",
        "with memory in the prompt 75.0%", "behavior_zog", "2 problems, last found in step 3, read for 7 rollouts",
        "harmful: lift -0.5 (step 3)", "2 insights, 50.0% of its attempts right in step 3",
        "37 zog 14", "and 1 more", "behavior_old", "written by step 2, gone with step 3",
    ):  # fmt: skip
        assert said in found.text, said
    rule = found.text[found.text.index("behavior_zog") :]
    assert rule.index("strategy, said 1 time") and rule.index("0/p/1") < rule.index("Count the rings."), (
        "most alike first"
    )


def test_long_lists_are_cut_and_it_says_so(run: RunDir, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEHAVIORS", "PROBLEMS", "ONCE", "INSIGHTS"):
        monkeypatch.setattr(module, name, 0)
    text = Tags(memory_page(run, memory, {})).text
    assert "and 1 more: pmd memory list" in text and "and 1 more problems: pmd memory list" in text
    assert text.rstrip().endswith("and 1 more") and "Use zog max." not in text


def test_an_empty_memory_has_a_page_too(run: RunDir) -> None:
    with Memory.ephemeral(HashingEmbedder()) as nothing:
        assert Tags(memory_page(run, nothing, {})).text.count("None.") == 2


def test_sizes_are_those_after_each_step(memory: Memory) -> None:
    assert memory.sizes(range(3)) == {"experience": [2, 2, 2], "insight": [2, 2, 2], "behavior": [0, 1, 1]}
