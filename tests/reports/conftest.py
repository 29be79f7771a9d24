"""A run's folder as a run writes it, without a model, with texts that mean harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.recipe import parse_recipe
from pmd_agent.reports.run_page.source import Source
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Behavior, Experience, Insight, Problem

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)> a\x00b \ud800 &amp;"


def rollout(step: int, number: int, *, right: bool, **changes: Any) -> dict[str, Any]:
    """A line of rollouts/."""
    plain = {
        "id": f"{step}/p{number % 2}/{number}", "problem": f"p{number % 2}", "text": f"try {number} of step {step}", "tokens": 3,
        "finish_reason": "stop", "policy_version": step, "logprob": -1.0, "reward": float(right), "correct": right, "answer": "7",
        "feedback": "", "taught_by": ["0/p0/0", f"{step}/p0/1"], "teacher_gain": 0.25,
    }  # fmt: skip
    return plain | changes


def metrics(step: int, **changes: Any) -> dict[str, Any]:
    """A line of metrics.jsonl, without its step."""
    plain = {
        "rollouts": 4, "reward": 0.25, "correct": 0.25, "solved_groups": 0.5, "response_tokens": 10.0 * 2**step, "loss": 0.5,
        "context_fraction": 1.0, "teacher_gain": 0.1, "insights_written": 2, "seconds": 2.0, "stage_seconds": {"attempt": 0.5, "distil": 1.5},
    }  # fmt: skip
    return plain | changes


def commit(run: RunDir, step: int, **changes: Any) -> None:
    """A step of four rollouts, the first of them shown by token; later steps get more of them right."""
    rows = [rollout(step, i, right=i < step) for i in range(4)]
    rows[0] |= {"text": HOSTILE, "feedback": HOSTILE, "token_gains": [["try", 0.5], [HOSTILE, -1.0], ["!", None]]}
    rows[3] |= {"correct": None, "reward": None, "teacher_gain": None, "taught_by": []}
    run.commit(step, metrics(step, **changes), rows, lambda folder: None, last=step == 2)


@pytest.fixture
def watched(tmp_path: Path) -> RunDir:
    """Three steps, evaluations, a memory whose behavior was replaced, and a quarantined insight."""
    recipe = {
        "name": "one",
        "runs": str(tmp_path / "runs"),
        "policy": {"type": "scripted"},
        "steps": 3,
        "checkpoint_every": 1,
    }
    run = RunDir.create(parse_recipe(recipe))
    for step in range(3):
        commit(run, step, validation=0.5, validation_low=0.2, validation_high=0.8)
    for name, right in (("base", 0), ("final", 1)):
        answers = [{"text": HOSTILE, "answer": "7", "correct": bool(right)}]
        lines = [
            {"problem": f"t{i}", "kind": "a", "checked": 1, "correct": right * (i > 0), "majority": None, "unchecked": 0, "answers": answers}
            for i in range(3)
        ]  # fmt: skip
        run.write_lines(f"evaluation/{name}.jsonl", lines)
    run.write_json(
        "summary.json", {"steps": 3, "gain": {"mean": 0.5, "low": -0.1, "high": 0.9}, "internalisation": 0.75}
    )
    with Memory.open(run.memory_path, HashingEmbedder()) as memory:
        memory.add_experiences([Experience("0/p0/0", "p0", "try", 1.0, True, "", "7", 0, 0)])
        memory.rewrite_insights("p0", [Insight("0/p0/s", "p0", "strategy", "Count the rings.", 0.5, ("0/p0/0",), 0, 0)])
        memory.rewrite_insights(
            "p0", [Insight("2/p0/s", "p0", "strategy", f"Look twice. {HOSTILE}", 0.5, ("2/p0/0",), 2, 2)]
        )
        memory.replace_behaviors([Behavior("1/b", "behavior_old", "Never look.", "c", 1, ("0/p0/s",), 1, 1)], 1)
        memory.replace_behaviors([Behavior("2/b", "behavior_new", "Always ask.", "c", 2, ("0/p0/s",), 2, 2)], 2)
        memory.note(2, states={"2/p0/s": ["quarantined", "harmful"]}, uses={"2/b": 7})
    return run


@pytest.fixture
def source_of() -> Callable[[RunDir], Source]:
    """What the page of a run is made of."""

    def make(run: RunDir) -> Source:
        def memory(run: RunDir) -> Memory:
            return Memory.snapshot(run.memory_path, HashingEmbedder(), run.next_step)

        return Source(run, memory, lambda run: [Problem("p0", f"What is 3 + 4? {HOSTILE}", "7")])

    return make


class Elements(HTMLParser):
    """The start tags of a page, and the JSON in it by name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, Any] = {}
        self._name = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self._name = (dict(attributes).get("id") or "") if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._name:
            self.data[self._name.removeprefix("data-")] = json.loads(data)

    def handle_endtag(self, tag: str) -> None:
        self._name = ""


def data_in(page: str) -> dict[str, Any]:
    """The JSON of a page by name."""
    return Elements(page).data


def elements_in(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Its tags with their attributes."""
    return Elements(page).found
