"""A run's folder: what is refused, what counts as committed, and what resuming takes back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import RunError
from pmd_agent.recipe import Recipe, load_recipe, parse_recipe
from pmd_agent.runs.folder import RunDir, fresh_name


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    def make(**data: Any) -> Recipe:
        return parse_recipe({"name": "one", "runs": str(tmp_path / "runs"), "steps": 8, **data})

    return make


def saver(text: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        assert folder.is_dir() and not list(folder.iterdir())
        (folder / "adapter").mkdir()
        (folder / "adapter" / "weights").write_text(text)

    return save


def commit(run: RunDir, step: int, *, last: bool = False) -> None:
    rows = [{"id": f"{step}/p/0", "text": "é \ud800"}]
    run.commit(step, {"loss": 1 / (step + 1)}, rows, saver(str(step + 1)), programs=[{"about": "p"}], last=last)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- create


def test_a_new_run(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    wanted = recipe(problems={"type": "world"}, policy={"model": "box"})
    run = RunDir.create(wanted)
    assert run.path == tmp_path / "runs" / "one" and run.recipe == wanted
    assert (run.next_step, run.checkpoint, run.finished) == (0, None, False)
    assert load_recipe(run.path / "recipe.yaml") == wanted
    assert (run.path / "recipe.yaml").read_text().startswith("# Every setting of this run.")
    environment = run.read_json("environment.json")
    assert environment is not None and {"torch", "transformers", "peft", "dspy", "chromadb"} <= set(
        environment["packages"]
    )
    assert environment["pmd"] and environment["cpus"] >= 1 and environment["started"].endswith("+00:00")
    assert run.metrics() == [] and run.read_json("summary.json") is None


def test_a_run_is_never_overwritten(recipe: Callable[..., Recipe]) -> None:
    path = RunDir.create(recipe()).path
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match="never overwritten") as caught:
        RunDir.create(recipe(seed=1))
    assert "--resume" in caught.value.hint and "--name" in caught.value.hint
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_an_empty_folder_and_one_of_a_run_that_never_began_are_free(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text("{}")
    assert RunDir.create(recipe()).next_step == 0


def test_a_folder_that_cannot_be_written(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        RunDir.create(recipe())


def test_a_fresh_name(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    assert fresh_name(tmp_path / "runs", "one") == "one"
    RunDir.create(recipe())
    assert fresh_name(tmp_path / "runs", "one") == "one-2"
    RunDir.create(recipe(name="one-2"))
    assert fresh_name(tmp_path / "runs", "one") == "one-3"


# ---- commit and resume


def test_steps_are_recorded(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    commit(run, 0)
    commit(run, 1)
    assert run.next_step == 2 and run.checkpoint == run.path / "checkpoints" / "step-000002"
    assert (run.checkpoint / "adapter" / "weights").read_text() == "2"
    assert run.metrics() == [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5}]
    assert names(run.path / "rollouts") == ["step-000000.jsonl", "step-000001.jsonl"]
    row = json.loads((run.path / "rollouts" / "step-000001.jsonl").read_text())
    assert row == {"id": "1/p/0", "text": "é \ud800"}
    assert names(run.path / "programs") == names(run.path / "rollouts")
    assert (run.path / "programs" / "step-000001.jsonl").read_text() == '{"about": "p"}\n'
    again = RunDir.open(run.path)
    assert (again.next_step, again.checkpoint, again.recipe) == (2, run.checkpoint, run.recipe)


def test_the_newest_checkpoints_are_kept(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe(keep_checkpoints=2))
    for step in range(4):
        commit(run, step)
    assert names(run.path / "checkpoints") == ["step-000003", "step-000004"]


def test_between_checkpoints_metrics_can_be_watched_but_do_not_count(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe(checkpoint_every=3))
    for step in range(5):
        commit(run, step)
    assert len(run.metrics()) == 5 and run.next_step == 3
    resumed = RunDir.resume(recipe(checkpoint_every=3))
    assert resumed.next_step == 3 and [line["step"] for line in resumed.metrics()] == [0, 1, 2]
    assert names(run.path / "rollouts") == [f"step-{n:06d}.jsonl" for n in range(3)]
    assert names(run.path / "programs") == names(run.path / "rollouts")
    commit(resumed, 3)
    commit(resumed, 4, last=True)
    assert resumed.next_step == 5 and [line["step"] for line in resumed.metrics()] == [0, 1, 2, 3, 4]


def test_a_step_that_asked_nothing_has_no_file_of_programs(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    run.commit(0, {}, [], saver("1"))
    assert not (run.path / "programs").exists() and RunDir.resume(recipe()).next_step == 1


def test_a_save_that_fails_commits_nothing(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    commit(run, 0)

    def save(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        run.commit(1, {}, [], save)
    resumed = RunDir.resume(recipe())
    assert resumed.next_step == 1 and names(run.path / "checkpoints") == ["step-000001"]
    assert len(resumed.metrics()) == 1


def test_what_is_left_of_a_killed_step_is_removed(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    commit(run, 0)
    (run.path / "checkpoints" / "step-000002.tmp").mkdir()
    (run.path / "checkpoints" / "step-000002").mkdir()
    (run.path / "rollouts" / "step-000001.jsonl.tmp").write_text("")
    (run.path / "programs" / "step-000001.jsonl").write_text("")
    (run.path / "programs" / "step-000002.jsonl.tmp").write_text("")
    (run.path / "state.json.tmp").write_text("{")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "lo')
    assert len(run.metrics()) == 1  # a line that is still being written
    resumed = RunDir.resume(recipe())
    assert names(run.path / "checkpoints") == ["step-000001"] and names(run.path / "rollouts") == ["step-000000.jsonl"]
    assert names(run.path / "programs") == ["step-000000.jsonl"]
    assert not (run.path / "state.json.tmp").exists() and len(resumed.metrics()) == 1


def test_resuming_is_noted(recipe: Callable[..., Recipe]) -> None:
    commit(RunDir.create(recipe()), 0)
    run = RunDir.resume(recipe(steps=9))
    environment = run.read_json("environment.json")
    assert environment is not None
    assert [r["next_step"] for r in environment["resumed"]] == [1]
    assert environment["resumed"][0]["changed"] == {"steps": [8, 9]}
    assert load_recipe(run.path / "recipe.yaml").steps == 9


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 9},
        {"epochs": 3},
        {"checkpoint_every": 2},
        {"keep_checkpoints": 1},
        {"evaluate": {"samples": 2, "every": 0}},
    ],
)
def test_what_may_change(recipe: Callable[..., Recipe], change: dict[str, Any]) -> None:
    RunDir.create(recipe())
    assert RunDir.resume(recipe(**change)).recipe == recipe(**change)


def test_how_accuracy_is_measured_stays_once_the_base_was(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    run.write_json("evaluation/base.json", {"avg": 0.5})
    with pytest.raises(RunError, match=r"evaluate\.samples: .*base was measured so"):
        RunDir.resume(recipe(evaluate={"samples": 2}))
    assert RunDir.resume(recipe(evaluate={"every": 3})).recipe.evaluate.every == 3


def test_with_more_steps_the_old_adapter_goes_and_fewer_than_were_made_are_refused(
    recipe: Callable[..., Recipe],
) -> None:
    run = RunDir.create(recipe(steps=2))
    for number in range(2):
        commit(run, number, last=number == 1)
    run.write_folder("adapter", lambda folder: (folder / "adapter_config.json").write_text("{}") and None)
    with pytest.raises(RunError, match=r"has made 2 steps already, more than steps=1"):
        RunDir.resume(recipe(steps=1))
    assert run.adapter_path.is_dir() and RunDir.open(run.path).recipe.steps == 2
    RunDir.resume(recipe(steps=4))
    assert not run.adapter_path.exists()


def test_what_may_not_change(recipe: Callable[..., Recipe]) -> None:
    RunDir.create(recipe())
    with pytest.raises(RunError) as caught:
        RunDir.resume(recipe(seed=1, distill={"lora": {"rank": 4}}, steps=9))
    assert "seed: 0 -> 1" in caught.value.message and "distill.lora.rank: 32 -> 4" in caught.value.message
    assert "steps" not in caught.value.message and caught.value.hint
    assert RunDir.open(recipe().runs / "one").recipe.seed == 0


def test_there_is_nothing_to_resume(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run") as caught:
        RunDir.resume(recipe())
    assert "without --resume" in caught.value.hint and not (tmp_path / "runs").exists()


def test_finished(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe(steps=2))
    commit(run, 0)
    run.write_json("summary.json", {"steps": 2})
    assert not run.finished
    commit(run, 1, last=True)
    run.write_json("evaluation/final.json", {"avg": 1.0})
    run.write_json("evaluation/base.json", {"avg": 0.0})
    assert run.finished and RunDir.resume(recipe(steps=2)).finished
    longer = RunDir.resume(recipe(steps=3))
    assert not longer.finished and longer.next_step == 2
    assert longer.read_json("evaluation/final.json") is None and longer.read_json("evaluation/base.json")


# ---- damage


@pytest.mark.parametrize("content", ["{", "[]", '{"step": 1}', ""])
def test_a_damaged_state(recipe: Callable[..., Recipe], content: str) -> None:
    run = RunDir.create(recipe())
    (run.path / "state.json").write_text(content)
    with pytest.raises(RunError, match=r"state\.json is damaged"):
        RunDir.resume(recipe())


def test_a_missing_checkpoint_and_missing_metrics(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    commit(run, 0)
    (run.path / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged"):
        RunDir.resume(recipe())
    (run.path / "checkpoints" / "step-000001").rename(run.path / "elsewhere")
    with pytest.raises(RunError, match="step-000001 is damaged: it is missing"):
        RunDir.resume(recipe())


# ---- reading


def test_open_by_name_and_by_path(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunDir.create(recipe())
    monkeypatch.chdir(tmp_path)
    assert RunDir.open("one").path == Path("runs/one")
    assert RunDir.open("runs/one/").path == Path("runs/one")
    assert RunDir.open(tmp_path / "runs" / "one").recipe == recipe()
    with pytest.raises(RunError, match="no run oen") as caught:
        RunDir.open("oen")
    assert "Did you mean one?" in caught.value.hint
    with pytest.raises(RunError) as caught:
        RunDir.open("xyz")
    assert "one" in caught.value.hint


def test_files(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    run.write_json("a/b.json", {"x": float("nan"), "y": [float("inf"), 1.5], "p": Path("q"), "t": (1, None, True)})
    assert run.read_json("a/b.json") == {"x": None, "y": [None, 1.5], "p": "q", "t": [1, None, True]}
    run.write_lines("a/c.jsonl", [{"x": "a\nb\u2028"}, {}])
    assert (run.path / "a/c.jsonl").read_text().split("\n")[1:] == ["{}", ""]
    with pytest.raises(TypeError, match="object has no form in JSON"):
        run.write_json("d.json", {"x": object()})
    assert not (run.path / "d.json").exists()
    assert (run.memory_path, run.adapter_path, run.log_path) == tuple(
        run.path / name for name in ("memory", "adapter", "log.txt")
    )


def test_numbers_of_numpy(recipe: Callable[..., Recipe]) -> None:
    import numpy as np

    run = RunDir.create(recipe())
    run.write_json("n.json", {"f": np.float32(0.5), "i": np.int64(3), "nan": np.float64("nan"), "b": np.bool_(True)})
    assert run.read_json("n.json") == {"f": 0.5, "i": 3, "nan": None, "b": True}


def test_a_folder_is_whole_or_not_there(recipe: Callable[..., Recipe]) -> None:
    run = RunDir.create(recipe())
    run.write_folder("adapter", saver("first"))
    run.write_folder("adapter", saver("second"))
    assert (run.path / "adapter/adapter/weights").read_text() == "second"

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("died")

    with pytest.raises(RuntimeError):
        run.write_folder("other", fail)
    assert not (run.path / "other").exists()
    commit(run, 0)
    RunDir.resume(recipe())
    assert not list(run.path.glob("*.tmp"))


def test_a_folder_that_can_only_be_read_says_so_before_any_work(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir.create(recipe())
    run.require_writable()
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == run.path and mode == os.W_OK))
    with pytest.raises(RunError, match="can be read but not written") as caught:
        RunDir.open(run.path).require_writable()
    assert "copy" in caught.value.hint
