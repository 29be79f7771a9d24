"""The services, each through its own package, which is imported when a run asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pmd_agent.trackers.base import Told, Tracker, figures

COLUMNS = ("problem", "text", "reward", "correct", "feedback")
"""Of a rollout, in a table of samples."""


class Wandb:
    """Weights & Biases. `WANDB_MODE=offline` writes to the run's folder; `wandb sync` sends it later."""

    def start(self, run: Told, next_step: int) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project="pmd",
            id=run.id,
            name=run.name,
            dir=str(run.folder),
            config=dict(run.config),
            resume="allow",
            settings=wandb.Settings(quiet=True),
        )
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, figures: Mapping[str, float], samples: Sequence[Mapping[str, Any]]) -> None:
        rows = [[row.get(column) for column in COLUMNS] for row in samples]
        table = {"samples": self._wandb.Table(columns=list(COLUMNS), data=rows)} if rows else {}
        self._run.log({"step": step} | dict(figures) | table)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()


class MLflow:
    """MLflow. Without MLFLOW_TRACKING_URI, files in the run's folder."""

    def start(self, run: Told, next_step: int) -> None:
        import os

        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run.folder / 'mlflow.db').resolve()}"
        self._client = MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name("pmd")
        where = experiment.experiment_id if experiment else self._client.create_experiment("pmd")
        found = self._client.search_runs([where], f"tags.`pmd.run` = '{run.id}'")
        made = found[0] if found else self._client.create_run(where, run_name=run.name, tags={"pmd.run": run.id})
        self._run = made.info.run_id
        if not found:
            for name, value in run.config.items():
                self._client.log_param(self._run, name, str(value)[:500])

    def log(self, step: int, figures: Mapping[str, float], samples: Sequence[Mapping[str, Any]]) -> None:
        from mlflow.entities import Metric

        now = _milliseconds()
        metrics = [Metric(name, value, now, step) for name, value in figures.items()]
        for start in range(0, len(metrics), 500):
            self._client.log_batch(self._run, metrics=metrics[start : start + 500])
        if samples:
            rows = [{column: row.get(column) for column in COLUMNS} for row in samples]
            self._client.log_dict(self._run, {"rollouts": rows}, f"samples/step-{step:06d}.json")

    def finish(self, summary: Mapping[str, Any]) -> None:
        for name, value in figures(summary).items():
            self._client.log_metric(self._run, f"summary/{name}", value)
        self._client.set_terminated(self._run)


class TensorBoard:
    """TensorBoard's files, in the run's folder: `tensorboard --logdir runs`."""

    def start(self, run: Told, next_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=next_step + 1)
        if not next_step:
            rows = [f"| {name} | {value} |" for name, value in run.config.items()]
            self._writer.add_text("recipe", "\n".join(["| key | value |", "|---|---|", *rows]), 0)

    def log(self, step: int, figures: Mapping[str, float], samples: Sequence[Mapping[str, Any]]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        for number, row in enumerate(samples):
            text = "\n\n".join(f"{column}: {row.get(column)}" for column in COLUMNS)
            self._writer.add_text(f"samples/{number}", text, step)
        self._writer.flush()

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._writer.add_text("summary", "\n\n".join(f"{name}: {value}" for name, value in summary.items()), 0)
        self._writer.close()


class Trackio:
    """trackio: W&B's words, figures on this machine."""

    def start(self, run: Told, next_step: int) -> None:
        import trackio

        # It knows a run by its name alone.
        name = f"{run.name}-{run.id[:6]}"
        self._run = trackio.init(project="pmd", name=name, config=dict(run.config), resume="allow")

    def log(self, step: int, figures: Mapping[str, float], samples: Sequence[Mapping[str, Any]]) -> None:
        self._run.log(dict(figures), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.log({f"summary/{name}": value for name, value in figures(summary).items()})
        self._run.finish()


SERVICES: dict[str, type[Tracker]] = {
    "wandb": Wandb,
    "mlflow": MLflow,
    "tensorboard": TensorBoard,
    "trackio": Trackio,
}


def _milliseconds() -> int:
    import time

    return int(time.time() * 1000)
