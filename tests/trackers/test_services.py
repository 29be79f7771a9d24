"""The real packages, offline: what they keep is what they were told, once, over a resumption."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from pmd_agent.trackers.base import Told
from pmd_agent.trackers.services import MLflow, TensorBoard, Trackio, Wandb

SAMPLE = [{"problem": "p", "text": "4", "reward": 1.0, "correct": True, "feedback": ""}]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told("0123456789abcdef", "one", tmp_path, {"distill.lr": 1e-4, "policy.model": "box"})


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(told: Told) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = TensorBoard()
    first.start(told, 0)
    for step in (1, 2, 3):
        first.log(step, {"reward": step / 10}, SAMPLE)
    again = TensorBoard()
    again.start(told, 2)  # the third was not committed
    again.log(3, {"reward": 0.9}, [])
    again.finish({"final.free": 0.75})
    read = EventAccumulator(str(told.folder / "tensorboard")).Reload()
    assert [(e.step, round(e.value, 2)) for e in read.Scalars("reward")] == [(1, 0.1), (2, 0.2), (3, 0.9)]
    assert any(tag.startswith("samples/") for tag in read.Tags()["tensors"])


@pytest.mark.filterwarnings("ignore")
def test_mlflow(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from mlflow import MlflowClient

    first = MLflow()
    first.start(told, 0)
    first.log(1, {"reward": 0.1}, [])
    again = MLflow()
    again.start(told, 1)
    again.log(2, {"reward": 0.2}, [])
    again.finish({"final.free": 0.75, "name": "one"})
    client = MlflowClient(tracking_uri=f"sqlite:///{(told.folder / 'mlflow.db').resolve()}")
    (run,) = client.search_runs([client.get_experiment_by_name("pmd").experiment_id])
    assert run.data.params == {"distill.lr": "0.0001", "policy.model": "box"} and run.info.status == "FINISHED"
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "reward")] == [(1, 0.1), (2, 0.2)]
    assert run.data.metrics["summary/final/free"] == 0.75


@pytest.mark.filterwarnings("ignore")
def test_wandb(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = Wandb()
    tracker.start(told, 0)
    tracker.log(1, {"reward": 0.1}, SAMPLE)
    tracker.finish({"final.free": 0.75})
    kept = list((told.folder / "wandb").glob("offline-run-*/run-0123456789abcdef.wandb"))
    until = time.monotonic() + 30  # its own process writes
    while kept[0].stat().st_size < 2000 and time.monotonic() < until:
        time.sleep(0.1)
    assert kept[0].stat().st_size > 2000, "recipe, figures and summary"
    assert len(list(kept[0].parent.glob("files/media/table/samples*.json"))) == 1


@pytest.mark.filterwarnings("ignore")
def test_trackio(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(told.folder))
    pytest.importorskip("trackio")
    for step in (1, 2):  # gone on with after the first
        tracker = Trackio()
        tracker.start(told, step - 1)
        tracker.log(step, {"reward": step / 10}, [])
        if step == 2:
            tracker.finish({"final.free": 0.75})
        else:
            tracker._run.finish()
    with sqlite3.connect(told.folder / "pmd.db") as kept:
        rows = kept.execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert {name for name, _, _ in rows} == {"one-012345"}
    assert [(step, json.loads(text)) for _, step, text in rows] == [
        (1, {"reward": 0.1}),
        (2, {"reward": 0.2}),
        (3, {"summary/final/free": 0.75}),
    ]
