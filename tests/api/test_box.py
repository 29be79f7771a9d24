"""The policy in the box from Python: the numbers of a run that was left, its adapter, the guide's blocks, and a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pmd_agent import Run

TINY = [
    "steps=2", "problems.train=4", "problems.test=1", "problems.validation=0", "rollout.problems=2", "rollout.samples=2",
    "rollout.max_tokens=48", "pipeline.max_tokens=64", "pipeline.every=2", "evaluate.every=0", "evaluate.with_memory=false",
]  # fmt: skip
GUIDE = Path(__file__).parents[2] / "docs" / "python.md"
GO_ON = """
import sys, pmd_agent as pmd
run = pmd.Run.open(sys.argv[1], quiet=True)
print([step.number for step in run], run.finished)
"""


def make(name: str) -> Run:
    return Run.create("recipes/quickstart.yaml", overrides=TINY, name=name, quiet=True)


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


def found(run: Run) -> tuple[Any, ...]:
    """All that a run has found out: metrics, accuracy, memory, the adapter's answers."""
    with run.memory() as memory, run.policy() as policy:
        summary = run.summary or {}
        answers = policy(["In the mill, compute 37 zog 14.", "In the field, compute 61 rud 12."], n=2, temperature=1.0)
        return without_times(run.metrics()), summary["base"]["free"], summary["final"]["free"], memory.list(), answers


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_was_left_has_the_numbers_of_one_that_was_not(here: Path) -> None:
    unbroken = make("unbroken").finish()
    left = make("left")
    for step in left:
        assert step.number == 0
        break
    assert [step.number for step in left] == [1]
    assert found(left) == found(unbroken)

    with make("elsewhere") as elsewhere:
        next(iter(elsewhere))
    done = subprocess.run([sys.executable, "-c", GO_ON, str(elsewhere.path)], capture_output=True, text=True, cwd=here)
    assert done.stdout == "[1] True\n", done.stderr
    assert found(elsewhere) == found(unbroken)

    with unbroken.policy(adapter=False) as base, unbroken.policy() as policy:
        problem = "In the mill, compute 37 zog 14."
        assert "<reasoning>" in base(problem), "asked with the system message of the run's problems"
        assert base(problem) != policy(problem, system="", temperature=0)
        lm = policy.lm(max_tokens=16)
        assert lm("In the mill, compute 37 zog 14.")[0].strip()


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(900)
def test_the_blocks_of_the_guide_run_one_after_the_other(here: Path) -> None:
    code = blocks(GUIDE)
    assert len(code) >= 6
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, cwd=here, timeout=850
    )
    assert done.returncode == 0, done.stderr
    assert "attempts were right." in done.stdout and (here / "my-adapter" / "adapter_config.json").is_file()


CELLS = [
    """
    import dspy
    import pmd_agent as pmd
    from pmd_agent.pipelines import Reflector, StrictJSONAdapter

    my_problems = [
        {"prompt": f"In the mill, compute {a} zog {b}.", "answer": str(max(a, b))}
        for a, b in [(37, 14), (52, 61), (70, 28), (19, 44), (33, 80)]
    ]

    def my_function(problem, text):
        return f"<answer> {problem.answer} </answer>" in text

    class Mine(Reflector):
        def forward(self, problem, experiences):
            found = super().forward(problem=problem, experiences=experiences)
            said = f"Of {len(experiences)} attempts learn the best."
            return dspy.Prediction(strategies=[*found.strategies, said], lessons=[*found.lessons, said])

    small = ["steps=2", "rollout.problems=2", "rollout.samples=2", "rollout.max_tokens=48", "name=mine"]
    """,
    """
    run = pmd.Run.create("recipes/quickstart.yaml", problems=my_problems, verifier=my_function, reflector=Mine(), overrides=small)
    for step in run:
        print(step.number, step.metrics["reward"])
        break
    """,
    """
    for step in run:
        print(step.number, step.metrics["reward"])
    """,
    """
    with run.policy() as policy, dspy.context(lm=policy.lm(), adapter=StrictJSONAdapter()):
        gepa = dspy.GEPA(
            metric=pmd.metrics.teacher_gain(policy), max_metric_calls=4, reflection_lm=policy.lm(temperature=1.0), num_threads=1
        )
        better = gepa.compile(run.reflector, trainset=run.reflections())
    again = pmd.Run.create("recipes/quickstart.yaml", problems=my_problems, verifier=my_function, reflector=better,
                           overrides=[*small, "steps=1", "name=again"])
    print(len(run.reflections()), type(better).__name__, next(iter(again)).number)
    again.close()
    """,
    """
    run = pmd.Run.open("runs/mine", quiet=True)
    with run.memory() as memory:
        page = memory.recall(step.problems_P[0].prompt).text
    with run.policy() as policy:
        print(policy("In the mill, compute 37 zog 14."))
        dspy.configure(lm=policy.lm())
    print(page)
    """,
]


@pytest.mark.timeout(900)
def test_the_script_that_one_would_like_to_write_in_a_notebook(here: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in CELLS])
    nbformat.write(notebook, here / "mine.ipynb")
    code = "import sys, nbformat, nbclient; book = nbformat.read(sys.argv[1], 4); nbclient.NotebookClient(book, timeout=800, "
    code += "resources={'metadata': {'path': '.'}}).execute(); nbformat.write(book, sys.argv[1])"
    # In a process of its own: jupyter's warnings are not ours.
    done = subprocess.run(
        [sys.executable, "-c", code, "mine.ipynb"], capture_output=True, text=True, cwd=here, timeout=850
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = nbformat.read(here / "mine.ipynb", 4).cells
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
    assert re.search(r"^0 \d", said[1], re.MULTILINE) and re.search(r"^1 \d", said[2], re.MULTILINE)
    assert "4 Mine 0" in said[3]
    assert "Of 2 attempts learn the best." in said[4] and "Notes from practice." in said[4]
