"""A run's folder among processes: one writes, and a kill of it at any moment leaves the last commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import RunError
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.runs.folder import RunDir


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    def make(**data: Any) -> Recipe:
        return parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), **data})

    return make


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


OWNER = """
import sys, time
from pathlib import Path
from pmd_agent.recipe import load_recipe
from pmd_agent.runs.folder import RunDir
RunDir.resume(load_recipe(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""


def test_one_process_writes_and_others_may_read(recipe: Callable[..., Recipe]) -> None:
    # Made by another process: this one would keep the lock.
    make = (
        "import sys; from pmd_agent.recipe import parse_recipe; from pmd_agent.runs.folder import RunDir; import json;"
    )
    make += "RunDir.create(parse_recipe(json.loads(sys.argv[1])))"
    wanted = recipe()
    assert python(make, json.dumps(wanted.model_dump(mode="json"))).returncode == 0
    path = wanted.runs / wanted.name
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(path / "recipe.yaml")], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None and owner.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"being written by process {owner.pid}"):
            RunDir.resume(wanted)
        assert RunDir.open(path).next_step == 0
    finally:
        owner.kill()
        owner.communicate()
    assert RunDir.resume(wanted).next_step == 0


KILLED = """
import json, os, signal, sys
from pathlib import Path
from pmd_agent.recipe import parse_recipe
import pmd_agent.runs.folder, pmd_agent.runs.files
from pmd_agent.runs.folder import RunDir

recipe = parse_recipe(json.loads(sys.argv[1]))
pmd_agent.runs.folder.describe_environment = dict  # it asks git, a hundred times over

def save(folder, value):
    for name in "ab":
        (folder / name).write_text(str(value))
        os.listdir(folder)  # a point to be killed at, in the midst of saving

def steps(run):
    for step in range(run.next_step, 3):
        run.commit(step, {"loss": step}, [{"id": step}], lambda folder: save(folder, step + 1),
            programs=[{"about": step}], last=step == 2)

def killed_at(point):
    '''Run in a child that dies before its point-th call of the disk; True if it came through.'''
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    count = 0
    def counted(function):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return call
    for name in ("replace", "fsync", "open", "listdir", "rmdir", "truncate"):
        setattr(os, name, counted(getattr(os, name)))
    steps(RunDir.create(recipe))
    os._exit(0)

def state_after(point):
    '''What a resumed run finds, and what it ends with.'''
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        with open(read) as file:
            found = file.read()
        os.waitpid(child, 0)
        return json.loads(found)
    begun = (recipe.runs / recipe.name / "recipe.yaml").exists()
    run = RunDir.resume(recipe) if begun else RunDir.create(recipe)
    names = lambda folder: sorted(p.name for p in (run.path / folder).glob("*"))
    found = {
        "next_step": run.next_step,
        "checkpoint": [(run.checkpoint / n).read_text() for n in "ab"] if run.checkpoint else None,
        "checkpoints": names("checkpoints"),
        "metrics": [line["step"] for line in run.metrics()],
        "rollouts": names("rollouts"),
        "programs": [(n, (run.path / "programs" / n).read_text()) for n in names("programs")],
        "temporary": [p.name for p in run.path.rglob("*.tmp")],
    }
    steps(run)
    found["end"] = [run.next_step, [line["step"] for line in run.metrics()], names("checkpoints")]
    with open(write, "w") as file:
        json.dump(found, file)
    os._exit(0)

import shutil
point, found, done = 0, [], False
while not done:
    point += 1
    done = killed_at(point)
    found.append(state_after(point))
    shutil.rmtree(recipe.runs)
print(json.dumps(found))
"""


@pytest.mark.parametrize("every", [1, 2])
def test_a_kill_at_any_moment_leaves_the_last_commit(recipe: Callable[..., Recipe], every: int) -> None:
    wanted = recipe(steps=3, checkpoint_every=every, keep_checkpoints=1)
    done = python(KILLED, json.dumps(wanted.model_dump(mode="json")))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 40
    seen = [state["next_step"] for state in found]
    assert seen == sorted(seen) and set(seen) == {*range(0, 3, every), 3}, "every commit was lost and found once"
    for state in found:
        step = state["next_step"]
        assert state["checkpoint"] == ([str(step)] * 2 if step else None)
        assert state["checkpoints"] == ([f"step-{step:06d}"] if step else [])
        assert state["metrics"] == list(range(step))
        assert state["rollouts"] == [f"step-{n:06d}.jsonl" for n in range(step)]
        assert state["programs"] == [[f"step-{n:06d}.jsonl", f'{{"about": {n}}}\n'] for n in range(step)]
        assert state["temporary"] == []
        assert state["end"] == [3, [0, 1, 2], ["step-000003"]]


def test_a_forked_child_does_not_keep_the_lock(recipe: Callable[..., Recipe]) -> None:
    code = """
import json, os, sys, time
from pmd_agent.recipe import parse_recipe
from pmd_agent.runs.folder import RunDir
RunDir.create(parse_recipe(json.loads(sys.argv[1])))
child = os.fork()
if not child:
    os.close(1), os.close(2)
    time.sleep(30)
    os._exit(0)
print(child)
"""
    done = python(code, json.dumps(recipe().model_dump(mode="json")))
    assert done.returncode == 0, done.stderr
    try:
        assert RunDir.resume(recipe()).next_step == 0
    finally:
        os.kill(int(done.stdout), 9)
