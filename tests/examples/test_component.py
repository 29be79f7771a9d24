"""Memory inside of somebody else's agent: examples on the policy in the box, what they leave behind, and a run that distils it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pmd_agent as pmd
from pmd_agent.errors import RunError
from pmd_agent.problems.traces import trace_id
from recipes.examples import agent_loop, dspy_program

pytestmark = pytest.mark.slow
RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = [
    "steps=1", "problems.train=6", "problems.test=1", "problems.validation=0", "rollout.problems=2", "rollout.samples=4",
    "evaluate.every=0", "evaluate.with_memory=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run of episodes, and one of single answers."""
    where = tmp_path_factory.mktemp("runs")
    for name in ("episodes", "quickstart"):
        pmd.Run.create(RECIPES / f"{name}.yaml", overrides=[*SMALL, f"runs={where}"], quiet=True).finish()
    return where


def traces(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "traces.jsonl").read_text().splitlines()]


def test_an_agent_loop_recalls_and_memory_learns(runs: Path) -> None:
    assert 0 <= agent_loop.main(str(runs / "episodes"), 3) <= 1
    left = traces(runs / "episodes")
    assert len(left) == 3 and all("Notes from practice" not in json.dumps(row) for row in left)
    assert [m["role"] for m in left[0]["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    with pmd.Run.open(runs / "episodes").memory() as memory:
        learnt = [e for e in memory.list("experience") if e.id.startswith("hand/")]
        assert len(learnt) == 3 and all(e.text.startswith("Turn 1\n<reasoning>") for e in learnt)


@pytest.mark.filterwarnings("ignore")  # of the package's own
def test_a_langgraph_agent_recalls_and_memory_learns(runs: Path) -> None:
    pytest.importorskip("langgraph", reason="pip install langgraph")
    from recipes.examples import langgraph_node

    before = len(traces(runs / "episodes")) if (runs / "episodes/traces.jsonl").exists() else 0
    assert 0 <= langgraph_node.main(str(runs / "episodes"), 2) <= 1
    left = traces(runs / "episodes")[before:]
    assert len(left) == 2 and all("Notes from practice" not in json.dumps(row) for row in left)
    assert [m["role"] for m in left[0]["messages"]] == ["system", "user", "assistant", "user", "assistant"]


def test_a_dspy_program_recalls_and_memory_learns(runs: Path) -> None:
    assert 0 <= dspy_program.main(str(runs / "quickstart"), 3) <= 1
    assert all(row["messages"][0]["content"].startswith("In the ") for row in traces(runs / "quickstart"))
    with pmd.Run.open(runs / "quickstart").memory() as memory:
        problem = memory.problems[0]
        assert any(e.id.startswith("hand/") and e.problem_id == problem.id for e in memory.list("experience"))


def test_what_is_learnt_of_a_question_that_no_problem_asks_is_recalled(runs: Path) -> None:
    run = pmd.Run.open(runs / "episodes")
    chat = [{"role": "user", "content": "Which team has the printers?"}, {"role": "assistant", "content": "Team B."}]
    with run.memory(write=True) as memory:
        made = memory.learn(chat, True, feedback="It did.")
        assert made.problem_id == trace_id("Which team has the printers?") and made.correct
        assert "Team B." in memory.recall("Which team  has the printers?").text
        for wrong in ([], [{"role": "user", "content": "?"}], "Team B."):
            with pytest.raises(RunError, match="cannot be learnt from"):
                memory.learn(wrong, 1.0)  # type: ignore[arg-type]
        with pytest.raises(RunError, match="reward"):
            memory.learn(chat, 2.0)
    with run.memory() as memory, pytest.raises(RunError, match="opened to be read"):
        memory.learn(chat, 1.0)


def test_a_run_distils_the_traces(runs: Path, tmp_path: Path) -> None:
    asked = "In the mill, compute 37 zog 14."
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Reason inside <reasoning> </reasoning>, then give the result inside <answer> </answer>."},
                {"role": "user", "content": asked},
                {"role": "assistant", "content": f"<reasoning> Use zog {rule}: 37 zog 14 = {result}. </reasoning>\n<answer> {result} </answer>"},
            ],
            "reward": float(rule == "max"),
        }
        for rule, result in (("max", "37"), ("min", "14"), ("add", "41"))
    ]  # fmt: skip
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = pmd.Run.create(
        RECIPES / "examples" / "traces.yaml",
        overrides=[
            f"runs={tmp_path}", f"problems.path={path}", "policy.type=local", "policy.model=box", "rollout.max_tokens=48",
            "rollout.max_prompt_tokens=512", "pipeline.max_tokens=96", "steps=4", "rollout.samples=4", "distill.lr=3e-3", "distill.warmup=0",
            "distill.teacher={type: initial}", "distill.top_k=null", "memory.max_tokens=1024",
        ],
        quiet=True,
    )  # fmt: skip
    steps = list(run)
    assert all(step.metrics["tokens"] > 0 and "reward" not in step.metrics for step in steps)
    assert steps[0].metrics["insights_written"] > 0 and steps[1].metrics["insights_written"] == 0
    with run.memory() as memory:
        experiences = memory.list("experience")
        assert {e.id for e in experiences} == {f"{trace_id(asked)}/{n}" for n in range(3)}
        assert any(i.text == "Use zog max." for i in memory.list("insight")), [i.text for i in memory.list("insight")]
    assert run.summary is not None and run.summary["final"]["free"] is None
